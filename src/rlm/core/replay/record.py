"""What the record of an earlier run holds, as a tree of spans to look things up in. Values only: what becomes of them
is decided by `following`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rlm.core.events import CompletionEnd, ExecEnd, Limit, MessageAdded, ModelEnd, ModelStart, ToolEnd
from rlm.core.types import RunUsage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.events import Event
    from rlm.core.types import Json


class RecordSource(Protocol):
    """Where a record is read from."""

    def read(self, event: Event) -> Any:
        """The body of an event, its cut texts whole and its masked ones exact, as far as they were kept."""
        ...

    def image(self, digest: str) -> bytes | None:
        """The bytes of an image in the record."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Recorded:
    """A recorded span. Messages and limits of a completion are with the turn after whose start they came."""

    id: str
    parent: str | None
    kind: str
    start: Event | None = None
    end: Event | None = None
    events: list[Event] = field(default_factory=list)
    children: list[Recorded] = field(default_factory=list)
    level: int = 0

    def of(self, kind: str) -> list[Recorded]:
        """The spans of that kind directly in it."""
        return [child for child in self.children if child.kind == kind]

    def bodies(self, kind: type[Any]) -> list[Event]:
        """Its own events that carry such a body."""
        return [event for event in self.events if isinstance(event.body, kind)]

    @property
    def key(self) -> str | None:
        return None if self.start is None else getattr(self.start.body, "key", None)

    @property
    def has_ended(self) -> bool:
        """Whether it came to its own end, neither cut off with the process nor given up by the span that it is in."""
        match None if self.end is None else self.end.body:
            case None:
                return False
            case CompletionEnd(status="cancelled") | ExecEnd(status="killed", error=None):
                return False
            case ModelEnd() as end:
                return not end.was_given_up
            case ToolEnd() as end:
                return not end.was_cut_off
        return True

    def walk(self) -> Iterator[Event]:
        """Every event of it and below: in the order of time, but each span in one piece."""
        if self.start is not None:
            yield self.start
        parts: list[tuple[float, Recorded | Event]] = [(event.at, event) for event in self.events]
        parts += [(child.start.at, child) for child in self.children if child.start is not None]
        for _, part in sorted(parts, key=lambda pair: pair[0]):
            if isinstance(part, Recorded):
                yield from part.walk()
            else:
                yield part
        if self.end is not None:
            yield self.end

    def spans(self) -> Iterator[Recorded]:
        """It and every span below it."""
        yield self
        for child in self.children:
            yield from child.spans()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The record of one run, or of a line of runs that resumed each other."""

    run_id: str
    root: Recorded
    source: RecordSource
    masked: bool = False
    """Texts in it were masked and the exact ones are gone: calls are known by their place alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What a record has of a call that has ended."""

    end: Any
    """The body of the event that ended it, whole and exact."""
    output: str = ""
    """What a cell printed."""
    value: Json = None
    """The value that the last cell of a completion gave as its answer; None where the answer was a reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a part of a record used."""

    usage: RunUsage = field(default_factory=RunUsage)
    cost_usd: float | None = 0.0

    def __add__(self, other: Spent) -> Spent:
        names = [name for name in RunUsage.__slots__ if name != "depth_reached"]
        sums = {name: getattr(self.usage, name) + getattr(other.usage, name) for name in names}
        depth = max(self.usage.depth_reached, other.usage.depth_reached)
        unknown = self.cost_usd is None or other.cost_usd is None
        cost_usd = None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0)
        return Spent(usage=RunUsage(**sums, depth_reached=depth), cost_usd=cost_usd)


def spent_by(recorded: Recorded, depth: int) -> Spent:
    """What a span and all below it used; `depth` is that of the completion it is in."""
    end = None if recorded.end is None else recorded.end.body
    if recorded.kind == "model" and isinstance(end, ModelEnd):
        return spent_on(end, depth)
    if recorded.kind == "tool":
        return Spent(usage=RunUsage(tool_calls=1))
    if recorded.kind == "completion" and isinstance(end, CompletionEnd):
        return Spent(usage=end.usage, cost_usd=end.cost_usd)
    below = depth + 1 if recorded.kind == "completion" else depth
    turns, failed = int(recorded.kind == "turn"), _failed_subcalls(recorded)
    total = Spent(usage=RunUsage(turns=turns, subcalls=_subcalls(recorded), subcalls_failed=failed))
    for child in recorded.children:
        total += spent_by(child, below)
    return total


def spent_on(end: ModelEnd, depth: int) -> Spent:
    """What one model call used; one that was recalled or failed used nothing."""
    if end.cached or (end.error is not None and not end.usage.total_tokens):
        return Spent()
    usage = RunUsage(
        input_tokens=end.usage.input_tokens,
        output_tokens=end.usage.output_tokens,
        cached_tokens=end.usage.cached_tokens,
        model_calls=1,
        depth_reached=depth,
    )
    return Spent(usage=usage, cost_usd=end.cost_usd)


def is_answer(recorded: Recorded) -> bool:
    """Whether it is a sub-call with a reply that identical ones may have too."""
    start = None if recorded.start is None else recorded.start.body
    end = None if recorded.end is None else recorded.end.body
    if not isinstance(start, ModelStart) or not isinstance(end, ModelEnd) or start.digest is None:
        return False
    return end.error is None and end.same_as is None and end.finish == "stop"


def has_reply(turn: Recorded) -> bool:
    """Whether the model has answered in this turn, be it to ask for something."""
    calls = (call for call in turn.of("model") if call.start is not None and call.start.body.purpose == "turn")
    return any(isinstance(call.end.body, ModelEnd) and call.end.body.error is None for call in calls if call.end)


def messages_of(recorded: Recorded, source: RecordSource) -> list[MessageAdded]:
    """The messages that joined the conversation in a turn, or before the first."""
    return [source.read(event) for event in recorded.bodies(MessageAdded)]


def reached_limit(recorded: Recorded) -> Event | None:
    """The event of the cap that ended a completion."""
    events = [*recorded.events, *(event for turn in recorded.of("turn") for event in turn.events)]
    limits = [event for event in events if isinstance(event.body, Limit) and event.body.state == "reached"]
    return limits[-1] if limits else None


def _subcalls(recorded: Recorded) -> int:
    """How many sub-calls a cell made: attempts at one answer are one."""
    if recorded.kind != "exec":
        return 0
    return len({child.key or child.id for child in recorded.children if child.kind in ("model", "completion")})


def _failed_subcalls(recorded: Recorded) -> int:
    """How many sub-calls of a cell got no answer."""
    if recorded.kind != "exec":
        return 0
    last = {child.key or child.id: child for child in recorded.children if child.kind in ("model", "completion")}
    failed = {key for key, child in last.items() if child.end is None or getattr(child.end.body, "error", None)}
    refused = {event.body.key for event in recorded.bodies(Limit) if event.body.key and event.body.state != "near"}
    return len(failed | refused)
