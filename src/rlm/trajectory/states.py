"""What a run and its spans came to: the one reading of a record, folded from its events (see `fold`).

The live view folds events as they come, and the index keeps what it folds: a state is a row of its tables, the fields
are the columns, and every reader (`rlm logs`, exports, the visualizer) is given the state itself. Texts in a state come
from models, guests and files: they are data to show, never markup, and a terminal gets them through `rlm.core.plain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import Json

STATUSES = ("running", "crashed", "completed", "limit", "failed", "cancelled")
"""How a run can stand; crashed is cut off without an end."""
KINDS = ("completion", "turn", "model", "exec", "tool", "other")
"""The kinds of spans; their places are the codes in a `Timeline`."""
SpanStatus: TypeAlias = Literal["open", "ok", "error"]
SPAN_STATUSES: tuple[SpanStatus, ...] = ("open", "ok", "error")
"""How a span can stand; their places are the codes in a `Timeline`."""

HEAD_CHARS = 120
"""The length of a span's `head` and `detail`, at most."""
TEXT_CHARS = 1_000
"""The length of a run's `prompt`, `response` and `error`, at most."""
NAME_CHARS = 100
"""The length of the name of a model, a tool or a cap, at most."""


class RunState(Struct):
    """What a run came to, up to its last event. Only a fold changes it."""

    id: str
    status: str = "running"
    """One of `STATUSES`."""
    started_at: float = 0.0
    last_at: float = 0.0
    """When its last event happened."""
    ended_after_s: float | None = None
    """How long the run took, as its end says; None while it has no end."""
    model: str = ""
    environment: str = ""
    prompt: str = ""
    """The first 1,000 characters of the prompt."""
    context: str = ""
    """What it was given to work on, in a few words: kind and size, and where it was read from; empty for nothing."""
    first_cell: str = ""
    """How the first cell of a session begins, whose cells come from outside; empty for a run of turns."""
    response: str = ""
    """The first 1,000 characters of the answer; empty until there is one."""
    error: str = ""
    """Class and message of what failed it; else empty."""
    limit: str = ""
    """The cap that was reached; else empty."""
    turns: int = 0
    cells: int = 0
    model_calls: int = 0
    """Paid model calls: answers from memory are not counted."""
    subcalls: int = 0
    """Model calls from code, and child completions."""
    open_subcalls: int = 0
    """Those of them that are under way."""
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    spent_usd: float = 0.0
    """What the calls of known price cost; see `cost_usd`."""
    unpriced: int = 0
    """Paid model calls whose price is unknown."""
    served_calls: int = 0
    """Model calls that an earlier run paid and whose replies this run has from that record. They are in no other sum
    here, and count against the caps."""
    served_tokens: int = 0
    served_usd: float = 0.0
    served_unpriced: int = 0
    depth: int = 0
    """The depth of the deepest child; 0 without children."""
    errors: int = 0
    """Spans that failed: cells, model calls, tools, completions."""
    warnings: int = 0
    """Limits near or reached, retries, warnings."""
    spans: int = 0
    events: int = 0
    resumed_from: str | None = None
    """The id of the run that this one goes on with, as its record says."""
    forked_from: str | None = None
    """The id of the run from which this one went another way, as its record says."""
    forked_at: int | None = None
    """The last turn taken from `forked_from`."""
    paused_by: str = ""
    """Who has paused it; empty while it goes on."""
    budget_json: str = "{}"
    skipped_lines: int = 0
    """Lines of the file that are no events."""
    size_bytes: int = 0
    """The size of the file when it was last read."""
    read_bytes: int = 0
    """The size of what was read of the file: all its whole lines."""
    inode: int = 0
    mtime_ns: int = 0
    guard: bytes = b""
    """A digest over the beginning and the end of what was read, which tells a longer file from another one."""

    @property
    def is_paused(self) -> bool:
        """Whether it stands still because somebody paused it."""
        return bool(self.paused_by) and self.status == "running"

    @property
    def has_ended(self) -> bool:
        return self.ended_after_s is not None

    @property
    def title(self) -> str:
        """What the run is called: its prompt; for a session, which has no prompt of its own, what it loaded and its
        first cell."""
        if not self.first_cell:
            return self.prompt
        return f"session over {self.context or 'no context'}: {self.first_cell}"

    @property
    def duration_s(self) -> float:
        """How long it took, or has taken up to its last event."""
        return max(0.0, self.last_at - self.started_at) if self.ended_after_s is None else self.ended_after_s

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> float | None:
        """What the run paid; None where the price of a call is unknown, never 0 for it."""
        return known_cost(self.spent_usd, self.unpriced, self.model_calls)

    @property
    def served_cost_usd(self) -> float | None:
        """What an earlier run paid for the served calls; None where the price of one is unknown."""
        return known_cost(self.served_usd, self.served_unpriced, self.served_calls)

    @property
    def torn_bytes(self) -> int:
        """The size of an unfinished last line."""
        return self.size_bytes - self.read_bytes

    @property
    def budget(self) -> Mapping[str, Json]:
        """Every cap by its name, as it was set last; None where the run has no such cap."""
        caps: dict[str, Json] = msgspec.json.decode(self.budget_json)
        return caps

    def origin(self, id_chars: int = 8) -> str:
        """Which run it resumes or forks, in words; empty for one that began by itself."""
        if self.forked_from:
            return f"forks {self.forked_from[:id_chars]} after turn {self.forked_at}"
        return f"resumes {self.resumed_from[:id_chars]}" if self.resumed_from else ""


class SpanState(Struct, gc=False):
    """What a span is, when it was, and what it cost by itself and with everything below it. Only a fold changes it."""

    number: int
    """From 0, in the order in which spans began; a parent's is always lower."""
    id: str
    parent_number: int
    """The number of the span that it is in; -1 for a root."""
    started_at: float
    first_seq: int
    last_seq: int
    """All events of the span are from `first_seq` to `last_seq`, with those of others among them."""
    level: int = 0
    """How many spans it is in."""
    depth: int = 0
    """The depth of the completion that it belongs to; 0 in the root completion."""
    kind: str = "other"
    """One of `KINDS`."""
    name: str = ""
    """`completion` or `rlm_query`; `turn`; a model call's purpose (turn, landing, compaction, llm_query); `cell`; a
    tool's name."""
    ordinal: int = 0
    """The number of a turn or a cell within its completion; else 0."""
    model: str = ""
    """The model of a completion or a model call; else empty."""
    head: str = ""
    """The first 120 characters of its prompt, code or arguments."""
    ended_at: float | None = None
    """When it ended; None while it is open, or if it was cut off."""
    status: SpanStatus = "open"
    detail: str = ""
    """How it ended: a cell's or completion's status, the beginning of an error."""
    answered_from: str = ""
    """Where a model call that was not paid has its reply from: `memory`, or `record` of an earlier run; else empty."""
    input_tokens: int = 0
    """The tokens of this span alone: only model calls have any."""
    output_tokens: int = 0
    cached_tokens: int = 0
    """The part of the input that came from the provider's cache."""
    cache_write_tokens: int = 0
    """The part of the input that was written to the provider's cache."""
    max_output_tokens: int = 0
    """The output cap of a model call; 0 where it had none, or wasn't made."""
    finish: str = ""
    """Why the reply of a model call ended; else empty."""
    spent_usd: float = 0.0
    """The cost of this span alone, as far as it is known; see `cost_usd`."""
    unpriced: int = 0
    calls: int = 0
    errors: int = 0
    total_tokens: int = 0
    """The tokens of this span and everything below it."""
    total_spent_usd: float = 0.0
    total_unpriced: int = 0
    total_calls: int = 0
    """Paid model calls, in this span and everything below it."""
    total_errors: int = 0
    """Failed spans, this one and everything below it."""
    children: int = 0
    parent: str | None = None
    """The id of the span that it is in; None for a root, and where that span is not in the record. This last field is
    not a column: the index finds the id by `parent_number`."""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> float | None:
        """The cost of a paid model call; None where it is unknown, and for any other span."""
        return known_cost(self.spent_usd, self.unpriced, self.calls)

    @property
    def total_cost_usd(self) -> float | None:
        """The cost of this span and everything below it; None where the price of a call is unknown, or no call
        was paid."""
        return known_cost(self.total_spent_usd, self.total_unpriced, self.total_calls)

    @property
    def cached(self) -> bool:
        """Whether a model call was answered from memory or from the record of an earlier run: nothing was paid."""
        return self.answered_from != ""

    @property
    def served(self) -> bool:
        """Whether a model call was answered from the record of an earlier run."""
        return self.answered_from == "record"


def known_cost(spent_usd: float, unpriced: int, calls: int) -> float | None:
    """The cost of `calls` paid calls; None if the price of any is unknown, or if there are none."""
    return spent_usd if calls and not unpriced else None
