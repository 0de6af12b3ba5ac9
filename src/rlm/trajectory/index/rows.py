"""What the index is asked, and what it answers beside the states of runs and spans: frozen values, and columns where
there would be too many rows.

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
class SpanGroup:
    """Siblings of one kind and name, folded: `128 x llm_query`. Of a group of one, `first` is all there is."""

    kind: str
    name: str
    count: int
    first: SpanState
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
    """Every name that occurs, once: as `SpanState.name`."""
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
