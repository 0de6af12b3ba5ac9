"""What the record of an earlier run holds, as a tree of spans to look things up in. Values only: what becomes of them
is decided by `recall`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rlm.core import exceptions
from rlm.core.events import CompletionEnd, ExecEnd, ExecOutput, Limit, MessageAdded, ModelEnd, ModelStart
from rlm.core.exceptions import BackendError, RLMError
from rlm.core.types import ExecResult, RunUsage, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.events import Event


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
    """A span. Messages and limits of a completion are with the turn after whose start they came."""

    id: str
    parent: str | None
    kind: str
    start: Event | None = None
    end: Event | None = None
    events: list[Event] = field(default_factory=list)
    children: list[Recorded] = field(default_factory=list)
    level: int = 0

    def of(self, kind: str) -> list[Recorded]:
        return [child for child in self.children if child.kind == kind]

    def bodies(self, kind: type[Any]) -> list[Event]:
        """Its own events that carry such a body."""
        return [event for event in self.events if isinstance(event.body, kind)]

    @property
    def key(self) -> str | None:
        return None if self.start is None else getattr(self.start.body, "key", None)

    @property
    def has_ended(self) -> bool:
        """It came to its own end: it was neither cut off with the process, nor given up by what it is in."""
        match None if self.end is None else self.end.body:
            case None:
                return False
            case CompletionEnd(status="cancelled") | ExecEnd(status="killed", error=None):
                return False
            case ModelEnd() as end:
                return not was_given_up(end)
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
class Spent:
    """What a part of a record used."""

    usage: RunUsage = field(default_factory=RunUsage)
    cost_usd: float | None = 0.0

    def __add__(self, other: Spent) -> Spent:
        names = ("input_tokens", "output_tokens", "cached_tokens", "model_calls", "subcalls", "tool_calls", "turns")
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
    total = Spent(usage=RunUsage(turns=int(recorded.kind == "turn"), subcalls=_subcalls(recorded)))
    for child in recorded.children:
        total += spent_by(child, below)
    return total


def spent_on(end: ModelEnd, depth: int) -> Spent:
    """What one model call used; one that was recalled or failed used nothing."""
    if end.cached or (end.error is not None and not was_given_up(end)):
        return Spent()
    usage = RunUsage(
        input_tokens=end.usage.input_tokens,
        output_tokens=end.usage.output_tokens,
        cached_tokens=end.usage.cached_tokens,
        model_calls=1,
        depth_reached=depth,
    )
    return Spent(usage=usage, cost_usd=end.cost_usd)


def worst_case(start: ModelStart, cost_usd: float | None) -> ModelEnd:
    """The end of a call that was under way when everything stopped: nobody knows what was billed."""
    usage = TokenUsage(input_tokens=start.input_tokens_estimate, output_tokens=start.max_output_tokens)
    return ModelEnd(usage=usage, cost_usd=cost_usd, error="the run was cut off while this call was under way")


def was_given_up(end: ModelEnd) -> bool:
    """Whether nobody waited for the answer, so that the worst case was charged."""
    return end.error is not None and end.usage.total_tokens > 0


def is_paid_answer(recorded: Recorded) -> bool:
    """Whether it is a sub-call whose reply identical ones may have too."""
    start = None if recorded.start is None else recorded.start.body
    end = None if recorded.end is None else recorded.end.body
    if not isinstance(start, ModelStart) or not isinstance(end, ModelEnd) or start.digest is None:
        return False
    return end.error is None and not end.cached and end.finish == "stop"


def cell_result(recorded: Recorded, source: RecordSource) -> ExecResult:
    """What became of a recorded cell that has ended."""
    assert recorded.end is not None
    end: ExecEnd = source.read(recorded.end)
    return ExecResult(
        status=end.status,  # type: ignore[arg-type]
        output="".join(source.read(event).text for event in recorded.bodies(ExecOutput)),
        output_chars=end.output_chars,
        duration_s=end.duration_s,
        error=end.error,
        final=end.final,
        changed=tuple(end.changed),
        state_reset=end.state_reset,
    )


def messages_of(recorded: Recorded, source: RecordSource) -> list[MessageAdded]:
    """The messages that joined the conversation in a turn, or before the first."""
    return [source.read(event) for event in recorded.bodies(MessageAdded)]


def reached_limit(recorded: Recorded) -> Limit | None:
    """The cap that ended a completion."""
    events = [*recorded.events, *(event for turn in recorded.of("turn") for event in turn.events)]
    limits = [event.body for event in events if isinstance(event.body, Limit) and event.body.state == "reached"]
    return limits[-1] if limits else None


def revived(text: str) -> Exception:
    """The exception whose class and message a record names; a class that isn't known is an `RLMError`."""
    name, _, message = text.partition(": ")
    kind = getattr(exceptions, name, None) if name in exceptions.__all__ else _BUILTIN.get(name)
    if kind is None:
        return RLMError(text)
    return kind(message) if issubclass(kind, Exception | BackendError) else RLMError(text)


def revived_limit(limit: Limit) -> Exception:
    """The exception that a recorded limit was."""
    for kind in exceptions.LimitReached.__subclasses__():
        if kind.limit == limit.name:
            return kind(limit.message)
    return RLMError(limit.message)


_BUILTIN = {kind.__name__: kind for kind in (ValueError, TypeError, LookupError, KeyError, OSError, TimeoutError)}


def _subcalls(recorded: Recorded) -> int:
    """How many sub-calls a cell made: attempts at one answer are one."""
    if recorded.kind != "exec":
        return 0
    return len({child.key or child.id for child in recorded.children if child.kind in ("model", "completion")})
