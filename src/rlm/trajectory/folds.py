"""What a run comes to, as folds over its events: a summary line, and the spans with all that happened in them.

Folds take events as they come, whole or torn, so the live view and the logs say the same of a run at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from rlm.core.events import CompletionEnd, CompletionStart, Event, ModelEnd, ModelStart, RunStart, TurnStart
from rlm.core.types import TokenUsage
from rlm.trajectory.reader import ends_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.types import Status
    from rlm.trajectory.reader import Trajectory

State: TypeAlias = "Literal['running', 'crashed'] | Status"


@dataclass(slots=True)
class Summary:
    """The totals of a run, up to its last event."""

    run_id: str = ""
    model: str = ""
    prompt: str = ""
    started_at: float = 0.0
    last_at: float = 0.0
    turns: int = 0
    depth: int = 0
    tokens: int = 0
    spent_usd: float = 0.0
    priced: bool = True
    """Every paid call so far had a known price."""
    open_calls: set[str] = field(default_factory=set)
    """Spans of the sub-calls under way: model calls and child completions."""
    ended: CompletionEnd | None = None

    def add(self, event: Event) -> None:
        """Take one more event."""
        if not self.run_id:
            self.run_id, self.started_at = event.run, event.at
        self.last_at = event.at
        match event.body:
            case RunStart() as start:
                self.model = start.model
            case CompletionStart() as start:
                self.depth = max(self.depth, start.depth)
                if event.parent is None:
                    self.prompt, self.model = start.prompt, self.model or start.model
                else:
                    self.open_calls.add(event.span)
            case TurnStart():
                self.turns += 1
            case ModelStart() as call if call.purpose == "llm_query":
                self.open_calls.add(event.span)
            case ModelEnd() as call:
                self._settle(event.span, call, paid=not (call.cached or event.served))
            case CompletionEnd() as end:
                self.open_calls.discard(event.span)
                if ends_run(event):
                    self._end(end)

    def state(self, running: bool) -> State:
        """How it stands; `running` says whether its writer lives."""
        if self.ended is not None:
            return self.ended.status
        return "running" if running else "crashed"

    @property
    def cost_usd(self) -> float | None:
        """None where the price of a call is unknown, never 0 for it."""
        return self.spent_usd if self.priced and self.tokens else None

    @property
    def duration_s(self) -> float:
        return self.ended.duration_s if self.ended is not None else max(0.0, self.last_at - self.started_at)

    def _settle(self, span: str, call: ModelEnd, *, paid: bool) -> None:
        self.open_calls.discard(span)
        if not paid:
            return
        self.tokens += call.usage.total_tokens
        self.spent_usd += call.cost_usd or 0.0
        if call.cost_usd is None and call.usage != TokenUsage():
            self.priced = False

    def _end(self, end: CompletionEnd) -> None:
        self.ended = end
        self.turns, self.depth = end.usage.turns, end.usage.depth_reached
        self.tokens = end.usage.input_tokens + end.usage.output_tokens
        self.spent_usd, self.priced = end.cost_usd or 0.0, end.cost_usd is not None
        self.open_calls.clear()


@dataclass(slots=True)
class SpanRecord:
    """A span: what began, what happened in it, and how it ended."""

    kind: str
    span: str
    parent: str | None
    start: Event | None = None
    end: Event | None = None
    events: list[Event] = field(default_factory=list)
    children: list[SpanRecord] = field(default_factory=list)


def summarize(run: Trajectory) -> Summary:
    """The summary of a run, from its two ends if it has ended, else from all of it."""
    summary = Summary()
    for event in run.ends() or run:
        summary.add(event)
    return summary


def spans(events: Iterable[Event]) -> list[SpanRecord]:
    """All spans in the order they began, with their children; those whose parent is unknown are roots."""
    known: dict[str, SpanRecord] = {}
    for event in events:
        kind, _, phase = event.type.partition(".")
        record = known.get(event.span)
        if record is None:
            above = known.get(event.parent or "")  # looked up first: a span that names itself is no loop
            record = known[event.span] = SpanRecord(kind=kind, span=event.span, parent=event.parent)
            if above is not None:
                above.children.append(record)
        if phase == "start" and kind != "run":
            record.kind, record.start = kind, event
        elif phase == "end":
            record.end = event
        else:
            record.events.append(event)
    return list(known.values())


def roots(records: Iterable[SpanRecord]) -> list[SpanRecord]:
    """Those that are in no other span."""
    records = list(records)
    inner = {child.span for record in records for child in record.children}
    return [record for record in records if record.span not in inner]
