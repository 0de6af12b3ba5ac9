"""The caps of a run, and the spend tree that enforces them: reserve before, settle after."""

from __future__ import annotations

from msgspec import Struct


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The caps of one run, over its whole tree. None means no cap, where it is allowed."""

    max_depth: int = 4
    """How many levels of children there may be below the root. Hard."""
    max_turns: int = 30
    """Model calls of one completion, root or child. Hard; the landing call comes on top."""
    token_budget: int | None = 1_000_000
    """Input and output tokens over the tree. Hard but for the error of the prompt's estimate."""
    cost_budget_usd: float | None = None
    """US dollars over the tree; needs a known price for every model that may be used."""
    tool_budget: int | None = 100
    """Calls of host tools by the model or by guest code; `execute_code` is not counted. Hard."""
    subcall_budget: int | None = 1_000
    """llm_query and rlm_query calls, each item of a batch counted. Hard."""
    timeout_s: float | None = 600.0
    """Wall time of the root completion; a child ends with its parent. Soft by the time a landing takes."""
    max_concurrency: int = 64
    """Requests to backends at one time, over the tree. Hard."""
