"""Runs as tables and as chat records, for spreadsheets and for training. A cell that a spreadsheet would take for a
formula is marked as text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.events import CompletionEnd, CompletionStart, MessageAdded, ModelEnd, ModelStart
from rlm.core.texts import escape_line_ends
from rlm.trajectory.index.rows import RunQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.events import Event
    from rlm.core.types import ToolCall
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.reader import Trajectory
    from rlm.trajectory.states import RunState, SpanState

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_COLUMNS = (
    "run_id", "span", "parent", "number", "kind", "name", "ordinal", "model", "level", "depth", "started_at",
    "ended_at", "duration_s", "status", "detail", "cached", "input_tokens", "output_tokens", "cost_usd",
    "total_tokens", "total_cost_usd", "total_calls", "total_errors", "head",
)  # fmt: skip
_PAGE = 2_000


def as_csv(index: Index, runs: list[RunState]) -> Iterator[str]:
    """A row for each span of these runs, in pieces; the root's row has the totals of its run."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    for run in runs:
        for offset in range(0, max(run.spans, 1), _PAGE):
            for span in index.all_spans(run.id, offset=offset, limit=_PAGE).rows:
                table.writerow([_cell(value) for value in _row(run.id, span)])
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _row(run_id: str, span: SpanState) -> Iterator[Any]:
    computed = {
        "run_id": run_id,
        "span": span.id,
        "duration_s": None if span.ended_at is None else round(span.ended_at - span.started_at, 6),
    }
    return (computed[name] if name in computed else getattr(span, name) for name in _COLUMNS)


def _cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def successful(index: Index) -> list[RunState]:
    """Every run that completed, the latest first."""
    return list(index.runs(RunQuery(status=("completed",), limit=0)).rows)


def as_chats(record: Trajectory, *, failed_too: bool = False) -> Iterator[str]:
    """A line of JSON for each completion that completed, or with `failed_too` for each that ended: its conversation as
    chat messages."""
    open_chats: dict[str, _Chat] = {}
    owners: dict[str, str] = {}
    for event in map(record.whole, record):
        owner = owners.setdefault(event.span, owners.get(event.parent or "", ""))
        match event.body:
            case CompletionStart():
                owners[event.span] = event.span
                open_chats[event.span] = _Chat(record.run_id, event)
            case CompletionEnd() as end:
                chat = open_chats.pop(event.span, None)
                if chat is not None and chat.messages and (failed_too or end.status == "completed"):
                    yield chat.line(end)
            case _ if owner in open_chats:
                open_chats[owner].add(event)


class _Chat:
    """The conversation of one completion."""

    def __init__(self, run_id: str, event: Event) -> None:
        self._about = {"run_id": run_id, "span": event.span, "depth": event.body.depth, "model": event.body.model}
        self._replies: set[str] = set()
        """The spans of the model calls that are part of it."""
        self.messages: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        match event.body:
            case MessageAdded() as said:
                answers = {"tool_call_id": said.tool_call_id} if said.tool_call_id else {}
                self.messages.append({"role": said.role, "content": said.content, **answers})
            case ModelStart(purpose="turn" | "landing") as asked:
                self._replies.add(event.span)
                if asked.prompt is not None:  # the last request of a landing, which is no message of the conversation
                    self.messages.append({"role": "user", "content": asked.prompt})
            case ModelEnd() as reply if event.span in self._replies and reply.error is None:
                calls = {"tool_calls": [_call(call) for call in reply.tool_calls]} if reply.tool_calls else {}
                self.messages.append({"role": "assistant", "content": reply.text, **calls})

    def line(self, end: CompletionEnd) -> str:
        chat = {"messages": self.messages, **self._about, "status": end.status, "response": end.response}
        return escape_line_ends(msgspec.json.encode(chat)).decode() + "\n"


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
