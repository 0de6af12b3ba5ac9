"""What a model call was sent: its whole input as a conversation, put together from the events before it.

A record has each message once, where it joined the conversation. Notes that took the place of older messages, and what
a landing had no room for, are applied here, so that the messages are those of the request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rlm.core.events import Compaction, MessageAdded, ModelEnd, ModelStart, TurnStart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.events import Event
    from rlm.core.notes import ImageNote
    from rlm.core.types import ToolCall
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.index.rows import EventRow
    from rlm.trajectory.states import SpanState

FIRST = 2
"""The messages that every request begins with: the system prompt and the task."""
PAGE = 20
"""How many messages after those are read at a time."""
_LAST = {"landing": "last request", "compaction": "request for notes"}
"""What the last message of a call is that isn't made for a turn."""
_ELSEWHERE = "the prompt is with an earlier call of this run, or not in the record"
_CUT = re.compile(r"\[\.\.\. [^\[\]\n]{1,300} \.\.\.\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a request."""

    number: int
    """Its place in the request, from 1."""
    role: str
    label: str
    """What it is, in words."""
    text: str
    seq: int
    """The number of the event that has it."""
    is_new: bool
    """Whether the call before, of the same completion, had not been sent it."""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    images: tuple[ImageNote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The messages of a request: its first two, and a page of the others."""

    messages: tuple[Said, ...]
    total: int
    new: int
    """How many of all were new since the call before."""
    notes: tuple[str, ...] = ()
    """How the request differs from the messages on record, in words."""

    @property
    def pages(self) -> int:
        """The number of pages, the last messages on page 0."""
        return max(1, -(-(self.total - FIRST) // PAGE))


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a message is."""

    row: EventRow
    label: str = ""


def sent_to(index: Index, run_id: str, call: SpanState, page: int = 0) -> Sent:
    """What a model call was sent; `page` counts from the end of the conversation, the newest messages first.

    Raises:
        ConfigError: the record can't be read.
    """
    start = _start(index, run_id, call.id)
    above = next((span for span in reversed(index.path(run_id, call.id)) if span.kind == "completion"), None)
    if above is None or call.name == "llm_query":
        said = _asked(call, start, 1)
        return Sent(messages=said, total=len(said), new=len(said), notes=() if said else (_ELSEWHERE,))
    entries, notes = _entries(index, run_id, above, call), []
    left_out = min(start.left_out, max(len(entries) - FIRST, 0)) if start is not None else 0
    if left_out:
        del entries[FIRST : FIRST + left_out]
        notes.append(f"{left_out:,} older messages were left out: the budget had no room for them")
    if call.name == "compaction":
        notes.append("the messages after the first two were shortened")
    notes.extend(_retold(index, run_id, call))
    before = index.asked_before(run_id, above, call)
    last = _asked(call, start, len(entries) + 1)
    if call.name in _LAST and not last:
        notes.append("the record doesn't have the last message")
    shown = [*enumerate(entries[:FIRST], 1), *_page(entries, page)]
    read = {event.seq: event for event in index.read(run_id, [entry.row for _, entry in shown])}
    said = tuple(
        replace(each, is_new=entry.row.seq > before)
        for number, entry in shown
        if (each := _said(number, entry, read.get(entry.row.seq))) is not None
    )
    new = sum(entry.row.seq > before for entry in entries) + len(last)
    tail = last if page == 0 else ()
    return Sent(messages=(*said, *tail), total=len(entries) + len(last), new=new, notes=tuple(notes))


def cuts(text: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a text, each with whether it is a mark that something was cut there."""
    place = 0
    for found in _CUT.finditer(text):
        if found.start() > place:
            yield text[place : found.start()], False
        yield found[0], True
        place = found.end()
    if place < len(text):
        yield text[place:], False


def _page(entries: Sequence[_Entry], page: int) -> list[tuple[int, _Entry]]:
    end = max(FIRST, len(entries) - page * PAGE)
    begin = max(FIRST, end - PAGE)
    return list(enumerate(entries[begin:end], begin + 1))


def _entries(index: Index, run_id: str, completion: SpanState, call: SpanState) -> list[_Entry]:
    """The messages on record that the conversation had when the call was made."""
    rows = index.conversation(run_id, completion, call.first_seq)
    notes = [row for row in rows if row.type == "compaction"]
    dropped = {e.seq: e.body.dropped for e in index.read(run_id, notes) if isinstance(e.body, Compaction)}
    entries: list[_Entry] = []
    label = ""
    for row in rows:
        if row.type == "record.left":
            label = "added after the record"
            continue
        if row.type == "compaction":
            count = max(0, dropped.get(row.seq, 0))
            entries[FIRST : FIRST + count] = [_Entry(row, f"notes in the place of {count:,} messages")]
            continue
        entries.append(_Entry(row, label if row.type == "message" else ""))
        label = ""
    return entries


def _said(number: int, entry: _Entry, event: Event | None) -> Said | None:
    match None if event is None else event.body:
        case MessageAdded() as added:
            label = entry.label or {1: "system prompt", 2: "task"}.get(number, _label(added.role))
            images = tuple(added.images)
            return Said(
                number=number,
                role=added.role,
                label=label,
                text=added.content,
                seq=entry.row.seq,
                is_new=False,
                images=images,
            )
        case Compaction(content=content):
            return Said(number=number, role="user", label=entry.label, text=content, seq=entry.row.seq, is_new=False)
        case ModelEnd() as end:
            return Said(
                number=number,
                role="assistant",
                label="its reply",
                text=end.text,
                seq=entry.row.seq,
                is_new=False,
                reasoning=end.reasoning,
                tool_calls=tuple(end.tool_calls),
            )
    return None


def _label(role: str) -> str:
    return "result" if role == "tool" else "from the runtime" if role == "user" else role


def _asked(call: SpanState, start: ModelStart | None, number: int) -> tuple[Said, ...]:
    """The message that is on record with the call itself."""
    if start is None or start.prompt is None:
        return ()
    label = _LAST.get(call.name, "prompt")
    return (
        Said(
            number=number,
            role="user",
            label=label,
            text=start.prompt,
            seq=call.first_seq,
            is_new=True,
            images=tuple(start.images),
        ),
    )


def _retold(index: Index, run_id: str, call: SpanState) -> tuple[str, ...]:
    """Whether the model was told to work in another form than the first messages say."""
    if call.parent is None:
        return ()
    rows = index.events(run_id, call.parent, types=("turn.start",), limit=1)
    event = next(index.read(run_id, rows), None)
    dialect = event.body.dialect if event is not None and isinstance(event.body, TurnStart) else None
    return (f"the system prompt was another by then, for the dialect {dialect!r}",) if dialect else ()


def _start(index: Index, run_id: str, span: str) -> ModelStart | None:
    rows = index.events(run_id, span, types=("model.start",), limit=1)
    event = next(index.read(run_id, rows), None)
    return event.body if event is not None and isinstance(event.body, ModelStart) else None
