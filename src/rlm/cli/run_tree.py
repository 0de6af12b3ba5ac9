"""A run as text for people: the tree of completions, turns, cells and calls, with code, output and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rlm.core.events import (
    ArtifactSaved,
    CompletionEnd,
    CompletionStart,
    ExecEnd,
    ExecOutput,
    ExecStart,
    ModelEnd,
    ModelStart,
    ToolEnd,
    ToolStart,
    TurnStart,
)
from rlm.sinks.progress import notice_text
from rlm.trajectory.folds import roots, spans
from rlm.trajectory.plain import one_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.events import Event
    from rlm.trajectory.folds import SpanRecord, Summary
    from rlm.trajectory.reader import Trajectory

_LINES, _CHARS = 24, 4_000
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
"""Code in a reply, which its cell shows again."""
_DEEPEST = 20
"""Deeper spans are indented no further."""


def render(run: Trajectory, summary: Summary, state: str, *, full: bool) -> Iterator[str]:
    """The run, line by line; without `full` long texts are cut with a mark."""
    yield from _head(run, summary, state)
    drawing = _Drawing(full=full)
    waiting = [(record, 0) for record in reversed(roots(spans(map(run.whole, run))))]
    while waiting:
        record, depth = waiting.pop()
        for text in drawing.opening(record):
            yield _indented(text, depth)
        inner = [(child, depth + 1) for child in reversed(record.children)]
        waiting.extend(inner)
    yield from drawing.answer(summary)


def when(at: float) -> str:
    """A moment in local time, to the minute."""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "?"


def dollars(cost_usd: float | None) -> str:
    """A cost; empty where it is unknown."""
    return "" if cost_usd is None else f"${cost_usd:.4f}"


def _head(run: Trajectory, summary: Summary, state: str) -> Iterator[str]:
    totals = [f"{summary.turns} turns", f"{summary.tokens:,} tokens", dollars(summary.cost_usd)]
    parts = [state, when(summary.started_at), summary.model, *totals, f"{summary.duration_s:.1f} s"]
    yield f"run {plain(run.run_id)}"
    yield " · ".join(one_line(part, 80) for part in parts if part)
    yield ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """Puts spans into words."""

    full: bool

    def opening(self, record: SpanRecord) -> Iterator[str]:
        """Everything of a span but its children."""
        end = None if record.end is None else record.end.body
        match None if record.start is None else record.start.body:
            case CompletionStart() as start:
                yield f"{'prompt' if start.depth == 0 else f'child at depth {start.depth}'}: {self._cut(start.prompt)}"
                context = start.context
                if context.kind != "none":
                    yield f"context: {one_line(context.kind, 20)}, {context.size_bytes:,} bytes"
                if record.parent is not None and isinstance(end, CompletionEnd):
                    yield f"answered ({end.status}): {self._cut(end.response)}"
            case TurnStart(turn=turn):
                yield f"turn {turn}"
            case ModelStart() as call:
                yield from self._model(call, end)
            case ExecStart() as cell:
                yield from self._cell(cell, end, record)
            case ToolStart() as tool:
                yield from self._tool(tool, end)
            case _:
                yield f"{one_line(record.kind, 40)} without a beginning"
        yield from (notice for event in record.events if (notice := _notice(event)))

    def answer(self, summary: Summary) -> Iterator[str]:
        """How it came out."""
        if summary.ended is None:
            return
        yield ""
        if summary.ended.error:
            yield f"error: {plain(summary.ended.error)}"
        if summary.ended.limit:
            yield f"limit: {one_line(summary.ended.limit, 40)}"
        yield f"answer: {plain(summary.ended.response)}"

    def _model(self, call: ModelStart, end: Any) -> Iterator[str]:
        name = one_line(call.model, 60)
        if not isinstance(end, ModelEnd):
            yield f"{name}: no reply"
            return
        cost = f", {dollars(end.cost_usd)}" if end.cost_usd is not None else ""
        memory = ", from memory" if end.cached else ""
        yield f"{name}: {end.usage.input_tokens:,} tokens in, {end.usage.output_tokens:,} out{cost}{memory}"
        if call.prompt:
            yield f"  asked: {self._cut(call.prompt)}"
        if end.error:
            yield f"  failed: {self._cut(end.error)}"
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

    def _cut(self, text: str) -> str:
        if self.full:
            return plain(text).rstrip()
        short = "\n".join(text[:_CHARS].rstrip().split("\n")[:_LINES])
        left = len(text.rstrip()) - len(short)
        return plain(short) + (f"\n[{left:,} more characters: --full]" if left > 0 else "")


def _notice(event: Event) -> str:
    if isinstance(event.body, ArtifactSaved):
        return f"saved {one_line(event.body.name, 200)}, {event.body.size_bytes:,} bytes"
    return notice_text(event)


def _marked(text: str, mark: str) -> str:
    return "\n".join(mark + line for line in text.split("\n"))


def _indented(text: str, depth: int) -> str:
    margin = "  " * min(depth, _DEEPEST)
    return "\n".join((margin + line).rstrip() for line in text.split("\n"))
