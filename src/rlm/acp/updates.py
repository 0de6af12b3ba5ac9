"""The events of a run as an editor shows them: what the model thinks, and its cells, sub-calls and tools as calls of
tools with their results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import acp

from rlm.core.events import (
    CompletionEnd,
    CompletionStart,
    ExecEnd,
    ExecOutput,
    ExecStart,
    ModelEnd,
    ModelStart,
    RecordLeft,
    ToolEnd,
    ToolStart,
)
from rlm.core.plain import one_line
from rlm.core.texts import escape_surrogates
from rlm.helpers.operation_table import find, names
from rlm.sinks.progress import notice_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.events import Event

SHOWN_CHARS = 20_000
"""How much of a text is shown."""
TITLE_CHARS = 80
MOST_CALLS = 200
"""Sub-calls of one run that are shown; an editor is not made to list thousands."""


class Updates:
    """Makes the updates of one run, event by event."""

    def __init__(self, *, goes_on: bool) -> None:
        """`goes_on`: the run begins with what an earlier one did, which was shown then."""
        self._is_new = not goes_on
        self._depths: dict[str, int] = {}
        """By the id of each span that is open."""
        self._purposes: dict[str, str] = {}
        """By the id of the span of each model call under way, what it is for."""
        self._output: dict[str, str] = {}
        """By the id of the span of each cell that runs, what it has printed."""
        self._calls: set[str] = set()
        """The spans of sub-calls that are shown and have not ended."""
        self._shown = 0

    def of(self, event: Event) -> Iterator[Any]:
        """The updates that an event is worth."""
        if event.served:
            return
        depth = self._depth(event)
        if (notice := notice_text(event)) and depth == 0:
            yield acp.update_agent_thought_text(f"{escape_surrogates(notice)}\n\n")
        if isinstance(event.body, RecordLeft) and depth == 0:
            self._is_new = True
        if self._is_new:
            yield from self._step(event, depth)

    def _step(self, event: Event, depth: int) -> Iterator[Any]:
        match event.body:
            case ModelStart() | ModelEnd() | CompletionStart() | CompletionEnd():
                yield from self._calls_of(event, depth)
            case ExecStart() | ExecOutput() | ExecEnd() if depth == 0:
                yield from self._cell(event)
            case ToolStart(name=name, arguments=arguments):
                yield acp.start_tool_call(
                    event.span, name, kind=kind_of(name), status="in_progress", raw_input=shown_values(arguments)
                )
            case ToolEnd(result=result, error=error):
                yield _ended(event.span, error or _text(result), failed=error is not None)

    def _depth(self, event: Event) -> int:
        """How deep below the root the completion is that an event belongs to."""
        if isinstance(event.body, CompletionStart):
            self._depths[event.span] = event.body.depth
        elif event.span not in self._depths:
            self._depths[event.span] = self._depths.get(event.parent or "", 0)
        return self._depths[event.span]

    def _calls_of(self, event: Event, depth: int) -> Iterator[Any]:
        match event.body:
            case ModelStart(purpose=purpose, prompt=prompt):
                self._purposes[event.span] = purpose
                if purpose == "llm_query" and depth == 0:
                    yield from self._begun(event.span, f"llm_query: {one_line(prompt or '', TITLE_CHARS)}")
            case ModelEnd() as end:
                purpose = self._purposes.pop(event.span, "")
                if purpose == "llm_query":
                    yield from self._over(event.span, end.text, end.error)
                elif depth == 0 and (said := "\n\n".join(filter(None, (end.reasoning, end.text)))):
                    yield acp.update_agent_thought_text(f"{shown(said)}\n\n")
            case CompletionStart(prompt=prompt) if depth == 1:
                yield from self._begun(event.span, f"rlm_query: {one_line(prompt, TITLE_CHARS)}")
            case CompletionEnd() as over if depth == 1:
                yield from self._over(event.span, over.response, over.error)

    def _begun(self, span: str, title: str) -> Iterator[Any]:
        """A sub-call begins."""
        if self._shown >= MOST_CALLS:
            return
        self._shown += 1
        self._calls.add(span)
        yield acp.start_tool_call(span, escape_surrogates(title), kind="think", status="in_progress")

    def _over(self, span: str, text: str, error: str | None) -> Iterator[Any]:
        if span in self._calls:
            self._calls.remove(span)
            yield _ended(span, error or text, failed=error is not None)

    def _cell(self, event: Event) -> Iterator[Any]:
        match event.body:
            case ExecStart(cell=cell, code=code):
                self._output[event.span] = ""
                yield acp.start_tool_call(
                    event.span,
                    f"cell {cell}",
                    kind="execute",
                    status="in_progress",
                    content=[acp.tool_content(acp.text_block(f"```python\n{shown(code)}\n```"))],
                    raw_input={"code": shown(code)},
                )
            case ExecOutput(text=text):
                self._output[event.span] = (self._output.get(event.span, "") + text)[: SHOWN_CHARS + 1]
            case ExecEnd(status=status, error=error):
                said = self._output.pop(event.span, "")
                if error is not None:
                    said = f"{said}\n{error.kind}: {error.message}".strip()
                yield _ended(event.span, said or status, failed=status != "ok")


def kind_of(tool: str) -> Any:
    """What a tool does, in the words of the protocol."""
    if "." not in tool or tool not in names():
        return "other"
    return "read" if find(tool).right == "read" else "edit"


def _ended(span: str, text: str, *, failed: bool) -> Any:
    content = [acp.tool_content(acp.text_block(shown(text)))] if text else None
    return acp.update_tool_call(span, status="failed" if failed else "completed", content=content)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def shown(text: str) -> str:
    """A text as it is shown: at most `SHOWN_CHARS` of it."""
    left = len(text) - SHOWN_CHARS
    return escape_surrogates(text if left <= 0 else f"{text[:SHOWN_CHARS]}\n[... {left:,} more ...]")


def shown_values(arguments: Any) -> Any:
    """Arguments as they are shown: long texts are cut."""
    if isinstance(arguments, str):
        return shown(arguments)
    if isinstance(arguments, dict):
        return {escape_surrogates(str(name)): shown_values(value) for name, value in arguments.items()}
    return [shown_values(each) for each in arguments] if isinstance(arguments, list) else arguments
