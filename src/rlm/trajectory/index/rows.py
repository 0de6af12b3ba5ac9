"""The questions put to the index, and its answers beside the states of runs and spans: frozen values, or columns of
numbers where there would be too many rows.

Texts in them come from models, guests and files: they are data to show, never markup, and a terminal gets them through
`rlm.core.plain`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar, get_args

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping

    from rlm.core.types import Json
    from rlm.trajectory.states import SpanState

RunOrder: TypeAlias = Literal["started", "duration", "tokens", "cost", "turns", "calls", "errors", "model", "status"]
ORDERS: tuple[str, ...] = get_args(RunOrder)
SpanOrder: TypeAlias = Literal["began", "failed", "slowest", "dearest"]
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs to list, and in which order; a field left at its default restricts nothing."""

    status: tuple[str, ...] = ()
    """Any of running, crashed (cut off without an end), completed, limit, failed, cancelled."""
    model: str = ""
    """A part of the model's name, in any case."""
    environment: str = ""
    text: str = ""
    """A part of the id, the prompt, the context, the answer or the error, in any case; of each the first 1,000
    characters are looked through."""
    since: float | None = None
    """Runs that started at this moment or later, in seconds since the epoch."""
    until: float | None = None
    """Runs that started before this moment."""
    min_cost_usd: float | None = None
    """A run of unknown cost never fits a filter on cost."""
    max_cost_usd: float | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    order: RunOrder = "started"
    ascending: bool = False
    offset: int = 0
    limit: int = 50
    """How many runs at most; 0 lists all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanQuery:
    """Which spans of a run to list, and in which order; a field left at its default restricts nothing."""

    parent: int | None = None
    """The number of the span that they are directly in."""
    kind: str = ""
    name: str = ""
    model: str = ""
    status: str = ""
    order: SpanOrder = "began"
    """failed: failures first, then what has failures below it or ended short of its answer."""
    offset: int = 0
    limit: int = 50
    """How many spans at most; 0 lists all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """Where a span stands among others."""

    place: int
    """From 1; how many of them don't come after it."""
    total: int


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """Some of the rows that fit a question, and the number of all that do."""

    rows: tuple[_Row, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanGroup:
    """Siblings of one kind and name, folded: `128 x llm_query`. In a group of one, `first` is the only span."""

    kind: str
    name: str
    count: int
    first: SpanState
    """The span that began first; `spans(..., kind=kind, name=name)` gives the others."""
    started_at: float
    ended_at: float | None
    """When the last of them ended; None while one is open."""
    total_tokens: int
    total_cost_usd: float | None
    total_calls: int
    total_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """Where an event is in the file of its run."""

    seq: int
    """The place of the event in the file, from 0: the number that it was stamped with, unless lines are missing or
    foreign."""
    at: float
    span: str
    type: str
    offset: int
    """Where its line begins in the file, in bytes."""
    length: int
    """The size of its line in bytes, newline included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An event that tells of a failure or a warning."""

    seq: int
    at: float
    span: str
    type: str
    severity: Literal["error", "warning"]
    message: str
    """At most 500 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All spans of a run as columns of equal length, in the order in which they began: a span's place is its number."""

    started_at: array[float]
    """Seconds since `origin`."""
    ended_at: array[float]
    """Seconds since `origin`; for an open span, the moment of the run's last event."""
    parent: array[int]
    """The number of the parent; -1 for a root."""
    level: array[int]
    kind: array[int]
    """Places in `KINDS`."""
    status: array[int]
    """Places in `SPAN_STATUSES`, and the place after them for a completion that ended short of its answer."""
    tokens: array[int]
    """The tokens of the span and everything below it."""
    cost_usd: array[float]
    """The cost of the span and everything below it; NaN where it is unknown."""
    label: array[int]
    """Places in `labels`."""
    labels: tuple[str, ...]
    """Each name of a span once; see `SpanState.name`."""
    ordinal: array[int]
    origin: float
    """Seconds since the epoch."""
    ids: bytes
    """The ids of the spans, 16 characters each, one after the other; see `id_of`."""

    def __len__(self) -> int:
        return len(self.parent)

    def id_of(self, number: int) -> str:
        """The id of the span at that place."""
        return self.ids[number * 16 : number * 16 + 16].decode("ascii").rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Burndown:
    """What a run had spent after each paid model call or tool call, as columns of equal length, and its caps.

    What an earlier run paid for replies that this run is served counts as spent from the start, as it does against
    the caps.
    """

    at: array[float]
    """Seconds since `origin`."""
    tokens: array[int]
    cost_usd: array[float]
    """The sum of the known costs; see `priced`."""
    model_calls: array[int]
    subcalls: array[int]
    tool_calls: array[int]
    origin: float
    priced: bool
    """Whether the price of every call is known."""
    caps: Mapping[str, Json] = field(default_factory=dict)
    """The caps by name, as in `run.start`: token_budget, cost_budget_usd, subcall_budget, tool_budget, timeout_s, ...;
    None where the run has no such cap."""

    def __len__(self) -> int:
        return len(self.at)
