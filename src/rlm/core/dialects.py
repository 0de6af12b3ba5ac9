"""How a model talks to us: native tool calls, or fenced code. Parses replies into steps, and renders results.

Nothing is executed here, and no reply makes it raise: what follows no dialect becomes a `Correction`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from rlm.core import fences
from rlm.core.types import Json, Message, ModelReply, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXECUTE_CODE = ToolSpec(
    name="execute_code",
    description=(
        "Run Python in the persistent REPL and see what it prints. Variables stay between calls. "
        "End the task by calling FINAL(value) or FINAL_VAR(name) in the code."
    ),
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "description": "Python source of one cell"}},
        "required": ["code"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Code to run in the REPL."""

    code: str
    call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UseTool:
    """A host tool to call."""

    name: str
    arguments: Mapping[str, Json]
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The final answer, in the model's own words."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """The reply, or one call in it, follows no dialect; the model is told so."""

    message: str
    call_id: str | None = None


Step: TypeAlias = Cell | UseTool | Answer | Correction


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What the model is shown of one step."""

    step: Step
    text: str


class Dialect(Protocol):
    """One way of talking; stateless."""

    @property
    def name(self) -> str: ...

    @property
    def native_tools(self) -> bool:
        """Whether tool specs go to the provider."""
        ...

    def parse(self, reply: ModelReply) -> tuple[Step, ...]:
        """The steps of a reply, in order, at least one."""
        ...

    def render(self, results: Sequence[StepResult]) -> tuple[Message, ...]:
        """The messages that answer the steps of one reply."""
        ...


NO_ANSWER = "The reply was empty."
CUT_OFF = "The reply was cut off at the output limit; be shorter, and do less in one step."


class ToolsDialect:
    """Native tool calls; a reply without any is the final answer."""

    name = "tools"
    native_tools = True
    _languages = frozenset({"repl"})

    def parse(self, reply: ModelReply) -> tuple[Step, ...]:
        if reply.tool_calls:
            return tuple(_parse_call(call) for call in reply.tool_calls)
        if steps := _parse_text(reply.text, self._languages):
            return steps
        if not reply.text.strip():
            return (Correction(message=f"{NO_ANSWER} Call execute_code, or answer in plain text."),)
        if reply.finish == "length":
            return (Correction(message=CUT_OFF),)
        return (Answer(text=reply.text.strip()),)

    def render(self, results: Sequence[StepResult]) -> tuple[Message, ...]:
        messages, loose = [], []
        for result in results:
            call_id = getattr(result.step, "call_id", None)
            if call_id is None:
                loose.append(result.text)
            else:
                messages.append(Message(role="tool", content=result.text, tool_call_id=call_id))
        if loose:
            messages.append(Message(role="user", content="\n\n".join(loose)))
        return tuple(messages)


class CodeDialect:
    """Fenced code for models without tool calls; prose alone is no answer, FINAL is."""

    name = "code"
    native_tools = False
    _languages = frozenset({"repl", "python", "py"})
    _ask = (
        "Write Python in a ```repl fence to work on the context, and end with FINAL(value) in the code, "
        "or FINAL(your answer) on a line of its own."
    )

    def parse(self, reply: ModelReply) -> tuple[Step, ...]:
        if steps := _parse_text(reply.text, self._languages):
            return steps
        if reply.finish == "length":
            return (Correction(message=f"{CUT_OFF} {self._ask}"),)
        problem = "The reply had no code and no FINAL." if reply.text.strip() else NO_ANSWER
        return (Correction(message=f"{problem} {self._ask}"),)

    def render(self, results: Sequence[StepResult]) -> tuple[Message, ...]:
        if len(results) == 1:
            return (Message(role="user", content=results[0].text),)
        parts = [f"[{number} of {len(results)}]\n{result.text}" for number, result in enumerate(results, 1)]
        return (Message(role="user", content="\n\n".join(parts)),)


DIALECTS: Mapping[str, Dialect] = {"tools": ToolsDialect(), "code": CodeDialect()}


def choose(wanted: str, *, native_tools: bool) -> Dialect:
    """The dialect of that name; `auto` takes native tool calls where the model has them."""
    if wanted == "auto":
        wanted = "tools" if native_tools else "code"
    return DIALECTS[wanted]


def landing_answer(reply: ModelReply) -> Answer | Cell:
    """Read the last reply of a run: FINAL, FINAL_VAR, or the text as it is."""
    steps = _parse_text(reply.text, frozenset())
    return steps[0] if steps else Answer(text=reply.text.strip())


def shorten(text: str, limit_chars: int) -> str:
    """`text` cut in the middle to about `limit_chars`, with a mark that says how much and what to do."""
    if len(text) <= limit_chars:
        return text
    head = limit_chars * 3 // 5
    tail = limit_chars - head
    mark = (
        f"\n[... {len(text) - limit_chars:,} of {len(text):,} characters cut here; "
        "keep results in variables and print slices or counts to see more ...]\n"
    )
    return text[:head] + mark + text[-tail:]


def _parse_call(call: ToolCall) -> Step:
    try:
        arguments = json.loads(call.arguments or "{}", strict=False)
    except (ValueError, RecursionError) as error:
        return Correction(message=f"The arguments of {call.name} are not valid JSON: {error}.", call_id=call.id)
    if not isinstance(arguments, dict):
        return Correction(message=f"The arguments of {call.name} must be a JSON object.", call_id=call.id)
    if call.name != EXECUTE_CODE.name:
        return UseTool(name=call.name, arguments=arguments, call_id=call.id)
    code = arguments.get("code")
    if not isinstance(code, str):
        return Correction(message='execute_code needs {"code": "<Python source>"}.', call_id=call.id)
    return Cell(code=code, call_id=call.id)


def _parse_text(text: str, languages: frozenset[str]) -> tuple[Answer | Cell, ...]:
    """Cells in fences, else FINAL or FINAL_VAR in the prose; empty if there is neither.

    A FINAL in prose beside code is ignored: it was written before the code ran.
    """
    blocks, prose = fences.split(text)
    cells = tuple(Cell(code=block.code) for block in blocks if block.language in languages and block.code.strip())
    if name := fences.final_variable(prose):
        return (*cells, Cell(code=f"FINAL_VAR({name!r})"))
    if not cells and (answer := fences.final_text(prose)) is not None:
        return (Answer(text=answer),)
    return cells
