"""The spans of a run with the events that happened in each: what is shown of a run as text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rlm.core.events import Event
    from rlm.trajectory.states import SpanState


@dataclass(slots=True)
class SpanRecord:
    """A span: its state, how it began and ended, and what happened in between."""

    state: SpanState
    start: Event | None = None
    end: Event | None = None
    events: list[Event] = field(default_factory=list)
    """All events of the span but its start and its end."""
    children: list[SpanRecord] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The kind of the span; for one of a kind that is not known, the word with which its events begin."""
        first = self._first
        return self.state.kind if self.state.kind != "other" or first is None else first.type.partition(".")[0]

    @property
    def parent(self) -> str | None:
        """The id of the span that it says it is in, which may not be in the record."""
        return self.state.parent if self._first is None else self._first.parent

    @property
    def _first(self) -> Event | None:
        return self.start or next(iter(self.events), self.end)

    def add(self, event: Event) -> None:
        """Take in the next event of the span."""
        kind, _, phase = event.type.partition(".")
        if phase == "start" and kind != "run":
            self.start = event
        elif phase == "end":
            self.end = event
        else:
            self.events.append(event)


def span_records(spans: Sequence[SpanState], events: Iterable[Event]) -> list[SpanRecord]:
    """All spans of a run, in the order in which they began, with their events and children. Events of spans that are
    not among them came after the spans were read, and are left out."""
    records = [SpanRecord(span) for span in spans]
    by_id = {record.state.id: record for record in records}
    for event in events:
        if (record := by_id.get(event.span)) is not None:
            record.add(event)
    for record in records:
        if record.state.parent_number >= 0:
            records[record.state.parent_number].children.append(record)
    return records
