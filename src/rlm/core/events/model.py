"""Events of a model call."""

from __future__ import annotations

from typing import ClassVar

from rlm.core.events.body import Body, Keyed
from rlm.core.notes import ImageNote  # noqa: TC001 (msgspec reads them at run time)
from rlm.core.types import Finish, TokenUsage, ToolCall


class ModelStart(Keyed, frozen=True, kw_only=True):
    """A request goes to a backend; it holds a reservation of tokens."""

    TYPE: ClassVar[str] = "model.start"

    model: str
    purpose: str
    """turn, landing (the last call for the best answer), compaction (notes) or llm_query."""
    max_output_tokens: int
    input_tokens_estimate: int
    prompt: str | None = None
    """Only with llm_query; a turn's conversation is in the events before."""
    images: list[ImageNote] = []
    """Those that go with `prompt`."""
    digest: str | None = None
    """Of the whole request, salted: equal calls are answered once."""


class ModelEnd(Body, frozen=True):
    """A request was answered or failed, and was settled."""

    TYPE: ClassVar[str] = "model.end"

    text: str = ""
    tool_calls: list[ToolCall] = []
    usage: TokenUsage = TokenUsage()
    finish: Finish = "unknown"
    cost_usd: float | None = None
    error: str | None = None
    cached: bool = False
    """Answered from memory; nothing was paid."""
    same_as: str | None = None
    """With `cached`: the span of the call in this run that has the prompt and the reply."""


class ModelRetry(Body, frozen=True):
    """An attempt failed and another follows."""

    TYPE: ClassVar[str] = "model.retry"

    error: str
    wait_s: float
    attempt: int
    """The attempt that failed, from 1."""
