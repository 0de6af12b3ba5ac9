"""What the index answers: frozen rows, and columns where there would be too many rows. Values only.

All texts in them come from models, guests and files: they are data to show, never markup, and a terminal gets them
through `rlm.core.plain`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, get_args

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping

    from rlm.core.types import Json

RunOrder: TypeAlias = Literal["started", "duration", "tokens", "cost", "turns", "calls", "errors", "model", "status"]
ORDERS: tuple[str, ...] = get_args(RunOrder)
STATES = ("running", "crashed", "completed", "limit", "failed", "cancelled")
"""How a run can stand; crashed is cut off without an end."""
SpanStatus: TypeAlias = Literal["open", "ok", "error"]

KINDS = ("completion", "turn", "model", "exec", "tool", "other")
"""The kinds of spans; their places are the codes in a `Timeline`."""
SPAN_STATUSES: tuple[SpanStatus, ...] = ("open", "ok", "error")

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs, in which order; what is left out restricts nothing."""

    status: tuple[str, ...] = ()
    """Any of running, crashed (cut off without an end), completed, limit, failed, cancelled."""
    model: str = ""
    """A part of the model's name, in any case."""
    environment: str = ""
    text: str = ""
    """A part of the id, the prompt, the answer or the error (of each the first 1,000 characters), in any case."""
    since: float | None = None
    """Started at or after, in seconds since the epoch."""
    until: float | None = None
    """Started before."""
    min_cost_usd: float | None = None
    """A run of unknown cost fits no cost filter."""
    max_cost_usd: float | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    order: RunOrder = "started"
    ascending: bool = False
    offset: int = 0
    limit: int = 50
    """0 is all."""


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """Some of the rows, and how many there are in all."""

    rows: tuple[_Row, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run."""

    id: str
    status: str
    """running, crashed (cut off without an end), completed, limit, failed or cancelled."""
    started_at: float
    last_at: float
    """The moment of its last event."""
    duration_s: float
    model: str
    environment: str
    prompt: str
    """Its first 1,000 characters."""
    response: str
    """The answer's first 1,000 characters; empty while there is none."""
    error: str
    """Class and message of what failed it; else empty."""
    limit: str
    """The cap that was reached; else empty."""
    turns: int
    cells: int
    model_calls: int
    """Paid ones: answers from memory are not counted."""
    subcalls: int
    """Sub-calls: model calls from code, and child completions."""
    tool_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None where the price of a call is unknown, never 0 for it."""
    depth: int
    """The deepest child; 0 is none."""
    errors: int
    """Spans that failed: cells, model calls, tools, completions."""
    warnings: int
    """Limits near or reached, retries, warnings."""
    spans: int
    events: int
    skipped: int
    """Lines that are no events."""
    torn_bytes: int
    """Bytes of an unfinished last line."""
    size_bytes: int
    served_calls: int
    """Model calls that an earlier run paid and whose replies this one has from its record. They are in no other sum
    here, and count against the caps."""
    served_tokens: int
    served_cost_usd: float | None
    resumed_from: str | None
    """The id of the run that it goes on with, as its record says."""
    forked_from: str | None
    """The same of a run that went another way from the end of turn `forked_at`."""
    forked_at: int
    budget: Mapping[str, Json]
    """Every cap by its name; None is no cap."""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def origin(self, id_chars: int = 8) -> str:
        """Which run it resumes or forks, in words; empty for one that began by itself."""
        if self.forked_from:
            return f"forks {self.forked_from[:id_chars]} after turn {self.forked_at}"
        return f"resumes {self.resumed_from[:id_chars]}" if self.resumed_from else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRow:
    """One span: what it is, when, and what it cost by itself and with everything below it."""

    number: int
    """From 0, in the order in which spans began; a parent's is always lower."""
    id: str
    parent: str | None
    """The id of the span that it is in; None for a root, and where that span is not in the record."""
    kind: str
    """One of `KINDS`."""
    name: str
    """`completion` or `rlm_query`; `turn`; a model call's purpose (turn, landing, compaction, llm_query); `cell`; a
    tool's name."""
    ordinal: int
    """The number of a turn or a cell within its completion; else 0."""
    model: str
    """Of completions and model calls; else empty."""
    head: str
    """The first 120 characters of its prompt, code or arguments."""
    started_at: float
    ended_at: float | None
    """None while it is open, or if it was cut off."""
    first_seq: int
    last_seq: int
    """All events of the span are between these two, with those of others."""
    level: int
    """How many spans it is in."""
    depth: int
    """The depth of the completion that it belongs to; root is 0."""
    status: SpanStatus
    detail: str
    """How it ended: a cell's or completion's status, the beginning of an error."""
    cached: bool
    """A model call answered from memory, or from the record of an earlier run: nothing was paid."""
    served: bool
    """The latter of these."""
    input_tokens: int
    """Of this span alone: only model calls have any."""
    output_tokens: int
    cost_usd: float | None
    """Of this span alone; None where unknown, and for anything but a model call."""
    total_tokens: int
    """With everything below."""
    total_cost_usd: float | None
    """With everything below; None where the price of a call is unknown, or there is no call."""
    total_calls: int
    """Paid model calls, this one and everything below."""
    total_errors: int
    """Failed spans, this one and everything below."""
    children: int

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanGroup:
    """Siblings of one kind and name, folded: `128 x llm_query`. Of a group of one, `first` is all there is."""

    kind: str
    name: str
    count: int
    first: SpanRow
    """The one that began first; the others by `spans(..., kind=kind, name=name)`."""
    started_at: float
    ended_at: float | None
    """The latest end; None while one is open."""
    total_tokens: int
    total_cost_usd: float | None
    total_calls: int
    total_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """Where one event is."""

    seq: int
    """Its place among the events of the file, from 0; what it was stamped with unless lines are missing or foreign."""
    at: float
    span: str
    type: str
    offset: int
    """Of its line in the file, in bytes."""
    length: int
    """Of its line, newline included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An event that a reader should be led to."""

    seq: int
    at: float
    span: str
    type: str
    severity: Literal["error", "warning"]
    message: str
    """At most 500 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All spans of a run as columns of equal length, in the order in which they began: the place is `number`."""

    started_at: array[float]
    """Seconds since `origin`."""
    ended_at: array[float]
    """The same; of an open span the moment of the run's last event."""
    parent: array[int]
    """The number of the parent; -1 for none."""
    level: array[int]
    kind: array[int]
    """Places in `KINDS`."""
    status: array[int]
    """Places in `SPAN_STATUSES`."""
    tokens: array[int]
    """Of the span and everything below."""
    cost_usd: array[float]
    """The same; NaN where unknown."""
    label: array[int]
    """Places in `labels`."""
    labels: tuple[str, ...]
    """Every name that occurs, once: as `SpanRow.name`."""
    ordinal: array[int]
    origin: float
    """Seconds since the epoch."""
    ids: bytes
    """16 characters for each span, one after the other; see `id_of`."""

    def __len__(self) -> int:
        return len(self.parent)

    def id_of(self, number: int) -> str:
        """The id of the span at that place."""
        return self.ids[number * 16 : number * 16 + 16].decode("ascii").rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Burndown:
    """What a run had spent after each paid model call or tool call, as columns of equal length, and its caps.

    What an earlier run paid and this one is served is spent from the start: it counts against the caps.
    """

    at: array[float]
    """Seconds since `origin`."""
    tokens: array[int]
    cost_usd: array[float]
    """Known costs only; see `priced`."""
    model_calls: array[int]
    subcalls: array[int]
    tool_calls: array[int]
    origin: float
    priced: bool
    """Every call had a known price."""
    caps: Mapping[str, Json] = field(default_factory=dict)
    """As in `run.start`: token_budget, cost_budget_usd, subcall_budget, tool_budget, timeout_s, ...; None is no cap."""

    def __len__(self) -> int:
        return len(self.at)
