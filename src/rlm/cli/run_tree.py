"""A run as text for people: the tree of completions, turns, cells and calls, with code, output and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.cli.console import counted
from rlm.cli.moments import local_time
from rlm.core.events import (
    Advised,
    ArtifactSaved,
    Compaction,
    CompletionEnd,
    CompletionStart,
    ExecEnd,
    ExecOutput,
    ExecStart,
    MessageAdded,
    ModelEnd,
    ModelStart,
    ToolEnd,
    ToolStart,
    TurnStart,
)
from rlm.core.plain import one_line, plain
from rlm.sinks.progress import notice_text
from rlm.trajectory.reader import ends_run
from rlm.trajectory.titles import title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.events import Event
    from rlm.core.notes import ImageNote
    from rlm.trajectory.span_records import SpanRecord
    from rlm.trajectory.states import RunState

_LINES, _CHARS = 24, 4_000
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
"""Code in a reply, which its cell shows again."""
_DEEPEST = 20
"""Deeper spans are indented no further."""


def render(run: RunState, records: Sequence[SpanRecord], *, full: bool) -> Iterator[str]:
    """The run, line by line; without `full` long texts are cut with a mark."""
    yield from _head(run)
    drawing = _Drawing(full=full)
    roots = [record for record in records if record.state.parent is None]
    waiting = [(record, 0) for record in reversed(roots)]
    while waiting:
        record, depth = waiting.pop()
        for text in drawing.opening(record):
            yield _indented(text, depth)
        inner = [(child, depth + 1) for child in reversed(record.children)]
        waiting.extend(inner)
    yield from drawing.answer(roots)


def dollars(cost_usd: float | None) -> str:
    """A cost; empty where it is unknown."""
    return "" if cost_usd is None else f"${cost_usd:.4f}"


def _head(row: RunState) -> Iterator[str]:
    totals = [counted(row.turns, "turn"), f"{row.tokens:,} tokens", dollars(row.cost_usd)]
    parts = [row.status, local_time(row.started_at), row.model, *totals, f"{row.duration_s:.1f} s"]
    yield f"run {plain(row.id)}"
    if row.origin():
        yield f"{one_line(row.origin(32), 80)}; from its record: {_served(row)}"
    yield " · ".join(one_line(part, 80) for part in parts if part)
    yield ""


def _served(row: RunState) -> str:
    """What the earlier run, which this one goes on with, had paid."""
    served = [counted(row.served_calls, "model call"), f"{row.served_tokens:,} tokens", dollars(row.served_cost_usd)]
    return ", ".join(part for part in served if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """Puts spans into words."""

    full: bool

    def opening(self, record: SpanRecord) -> Iterator[str]:
        """The lines of a span, without those of its children."""
        end = None if record.end is None else record.end.body
        match None if record.start is None else record.start.body:
            case CompletionStart() as start:
                yield f"{title_of(record.state) if start.depth else 'prompt'}: {self._cut(start.prompt)}"
                context = start.context
                if context.kind != "none":
                    yield f"context: {one_line(context.kind, 20)}, {context.size_bytes:,} bytes"
                if record.parent is not None and isinstance(end, CompletionEnd):
                    yield f"answered ({end.status}): {self._cut(end.response)}"
            case TurnStart():
                yield title_of(record.state)
            case ModelStart() as call:
                yield from self._model(call, end, served=record.end is not None and record.end.served)
            case ExecStart() as cell:
                yield from self._cell(cell, end, record)
            case ToolStart() as tool:
                yield from self._tool(tool, end)
            case _:
                yield f"{one_line(record.kind, 40)} without a beginning"
        for event in record.events:
            if notice := self._notice(event):
                yield f"{notice} (from the record)" if event.served else notice

    def answer(self, roots: Sequence[SpanRecord]) -> Iterator[str]:
        """The lines that say how the run ended."""
        ends = (record.end.body for record in roots if record.end is not None and ends_run(record.end))
        end: CompletionEnd | None = next(ends, None)
        if end is None:
            return
        yield ""
        if end.error:
            yield f"error: {plain(end.error)}"
        if end.limit:
            yield f"limit: {one_line(end.limit, 40)}"
        yield f"answer: {plain(end.response) or '(none)'}"

    def _model(self, call: ModelStart, end: Any, *, served: bool) -> Iterator[str]:
        name, source = one_line(call.model, 60), ", from the record" if served else ""
        yield f"{name}: {_price(end)}{source}" if isinstance(end, ModelEnd) else f"{name}: no reply"
        if call.prompt:
            yield f"  asked: {self._cut(call.prompt)}"
        yield from (f"  {_image(note)}" for note in call.images)
        if isinstance(end, ModelEnd):
            yield from self._reply(end)

    def _reply(self, end: ModelEnd) -> Iterator[str]:
        if end.error:
            yield f"  failed: {self._cut(end.error)}"
        if end.reasoning.strip():
            yield f"  reasoned: {self._cut(end.reasoning)}"
        said = end.text if self.full else _FENCE.sub("[code]", end.text)
        if said.strip():
            yield f"  said: {self._cut(said)}"

    def _cell(self, cell: ExecStart, end: Any, record: SpanRecord) -> Iterator[str]:
        ended = f"{one_line(end.status, 20)}, {end.duration_s:.2f} s" if isinstance(end, ExecEnd) else "didn't end"
        yield f"cell {cell.cell} ({ended})"
        yield _marked(self._cut(cell.code), "  > ")
        output = "".join(event.body.text for event in record.events if isinstance(event.body, ExecOutput))
        if output.strip():
            yield _marked(self._cut(output), "  | ")
        if isinstance(end, ExecEnd) and end.error is not None:
            yield _marked(self._cut(end.error.traceback or f"{end.error.kind}: {end.error.message}"), "  ! ")
        if isinstance(end, ExecEnd) and end.final is not None:
            yield f"  FINAL: {self._cut(end.final.text)}"

    def _tool(self, tool: ToolStart, end: Any) -> Iterator[str]:
        yield f"tool {one_line(tool.name, 60)} {self._cut(str(tool.arguments))}"
        if isinstance(end, ToolEnd):
            said = f"failed: {end.error}" if end.error else str(end.result)
            yield f"  {self._cut(said)}"

    def _notice(self, event: Event) -> str:
        """What an event between the start and the end of a span says; empty where that is shown elsewhere."""
        match event.body:
            case ArtifactSaved() as saved:
                return f"saved {one_line(saved.name, 200)}, {saved.size_bytes:,} bytes"
            case Compaction() as notes:
                return f"compacted: notes took the place of {notes.dropped} messages\n  {self._cut(notes.content)}"
            case Advised() as advised:
                return f"advice {one_line(advised.name, 40)}: {self._cut(advised.message)}"
            case MessageAdded(images=images) if images:
                return "\n".join(map(_image, images))
        return notice_text(event)

    def _cut(self, text: str) -> str:
        if self.full:
            return plain(text).rstrip()
        short = "\n".join(text[:_CHARS].rstrip().split("\n")[:_LINES])
        left = len(text.rstrip()) - len(short)
        return plain(short) + (f"\n[{left:,} more characters: --full]" if left > 0 else "")


def _price(end: ModelEnd) -> str:
    cost = f", {dollars(end.cost_usd)}" if end.cost_usd is not None else ""
    memory = ", from memory" if end.cached else ""
    return f"{end.usage.input_tokens:,} tokens in, {end.usage.output_tokens:,} out{cost}{memory}"


def _image(note: ImageNote) -> str:
    return f"image: {one_line(note.media_type, 40)}, {note.size_bytes:,} bytes, {one_line(note.digest, 12)}"


def _marked(text: str, mark: str) -> str:
    return "\n".join(mark + line for line in text.split("\n"))


def _indented(text: str, depth: int) -> str:
    margin = "  " * min(depth, _DEEPEST)
    return "\n".join((margin + line).rstrip() for line in text.split("\n"))
