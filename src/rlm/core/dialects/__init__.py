"""How a model talks to us: native tool calls, or fenced code. Parses replies into steps, and renders results.

Nothing is executed here, and no reply makes it raise: what follows no dialect becomes a `Correction`. Code is run only
where the model meant it to run: nothing that was only thought, quoted or printed runs, and nothing that was cut off.
The rules, each in full where it is kept:

1. A text is taken apart (`fences`) by the marks of many families of models (`families`): thoughts don't count, nor do
   results that the model made up, nor what follows the end of its turn (`thoughts`, `endings`); a text in channels is
   heard by channel (`channels`). Marks in backticks or quotation marks are spoken of, and mark nothing.
2. What stands before a closing tag that nothing opened is a thought if code, a FINAL or an answer follows; else it is
   what was said. A bare remark is no answer, nor is any text that follows nothing but code.
3. Of what is said, the plainest form alone is followed, and everything else in the reply is prose: native tool calls;
   else calls in the markup of some family (`markup`), of execute_code, or of a function of the REPL, which stand for
   the cell that calls it (`functions`); else ```repl fences; else, in the code dialect, Python fences; else fences with
   no or another tag, or a whole reply, that are Python and do something. With native tools a reply may well be an
   answer with code in it: there such code is run only if it uses a name of the REPL or a variable that is set, and the
   model is told.
4. A fence ends where Python says so: marks in a string are a part of it, marks after code close it (`blocks`). Code
   that is no Python and becomes it by one small repair is run so, and the model is told (`repairs`).
5. Where there is no code, `FINAL(...)`, `FINAL_VAR(name)` or `Final answer: ...` in the prose end the task (`prose`);
   in the code dialect `<answer>...</answer>` and `\\boxed{...}` do too. A fence in the parentheses is in the answer.
   Beside code they were written too early, and are ignored; FINAL_VAR alone then follows the code.
6. With native tools any other text is the answer, unless it only announces what comes next, or has the markup of a
   call that can't be read.
7. Arguments may be broken JSON if what they mean is clear (`arguments`). What was cut off at the output limit is never
   completed, and never run.
8. A constant given to FINAL in a cell after another one of the same reply is held back: the model has not seen what the
   first one printed. So is a text given to FINAL that is the name of a variable. The same cell several times in a row
   runs once.
9. In the last reply of a run, after a limit, code is run where it stands in a ```repl fence, in a call of execute_code,
   or uses a name of the REPL or a variable that is set, and does more than define. A FINAL in it gives the answer, else
   a FINAL beside it, else what is said beside it, else what it prints. Any other fence is a part of the answer, so text
   that asked for code stays code; of a fence that is the whole reply the content is the answer.
10. Whoever says the same and gets the same, again and again, is told; `stuck` says when there is no more hope.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from rlm.core.dialects import cells, channels, endings, fences, functions, markup, prose, thoughts
from rlm.core.dialects.arguments import read_code, read_object, unfenced
from rlm.core.dialects.blocks import PYTHON_TAGS
from rlm.core.dialects.repairs import repaired
from rlm.core.dialects.scanning import Text
from rlm.core.dialects.slips import Memory
from rlm.core.types import Json, Message, ModelReply, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

    from rlm.core.dialects.passages import Passages

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """The last reply of a run."""

    cells: tuple[Cell, ...]
    """Code to run for the answer, in order."""
    text: str
    """The answer where code gives none; empty where nothing is said beside it."""


class Dialect(Protocol):
    """One way of talking, for one completion: it remembers what the model said, to tell a slip from what is meant."""

    @property
    def name(self) -> str: ...

    @property
    def native_tools(self) -> bool:
        """Whether tool specs go to the provider."""
        ...

    @property
    def stuck(self) -> str | None:
        """Why nothing more is to be hoped for from the model; None while there is hope."""
        ...

    def parse(self, reply: ModelReply) -> tuple[Step, ...]:
        """The steps of a reply, in order, at least one."""
        ...

    def land(self, reply: ModelReply) -> Landing:
        """Read the last reply of a run."""
        ...

    def render(self, results: Sequence[StepResult]) -> tuple[Message, ...]:
        """The messages that answer the steps of the reply that was parsed last."""
        ...


NO_ANSWER = "The reply was empty."
ONLY_THOUGHT = "The reply was nothing but a thought, and those don't count."
CUT_OFF = "The reply was cut off at the output limit; be shorter, and do less in one step."
ANNOUNCED = (
    "That says what comes next, but it called no tool, so nothing was run. Call execute_code now; or, if that was the "
    "answer, send it as FINAL(your answer) on a line of its own."
)
RAN = "Result of execute_code:"
"""What a result begins with that answers no call proper."""
OTHER_FENCES = "Of the fences in the reply only those that begin with ```repl were run."
RAN_TEXT = "The code in the text was run. Call execute_code to run code; if the text was the answer, give it by FINAL."
NATIVE_ONLY = "In the text of a reply only execute_code can be called; {name!r} needs a tool call proper."
UNREADABLE = (
    "The reply has the markup of a tool call, but not one that can be read, so nothing was run. If you only speak of "
    "such markup, put it in backticks, or give your answer by FINAL."
)
REPAIRED = "The code was no Python as it stood, and ran after a repair: {what}. Look at what it gave with that in mind."
NO_TOOLS = "There is no tool {name!r} to call: write Python in a ```repl fence, every function is there."

_NAME_TAIL = re.compile(r"(?:<\|.*|:\d+)\Z", re.DOTALL)
"""What some servers leave of a family's marks at the end of a tool's name."""
NAME_CHARS = 80
"""How much of a tool's name is repeated to the model that made it up."""


class _Hearing:
    """What both dialects share: a memory, and what they make of text."""

    _careful: bool
    _refusal: str

    def __init__(self) -> None:
        self._memory = Memory()

    @property
    def stuck(self) -> str | None:
        return self._memory.stuck

    def land(self, reply: ModelReply) -> Landing:
        """Read the last reply of a run."""
        said = _last_said(reply, cut=reply.finish == "length")
        answer = landing_answer(reply)
        run: list[Step] = [_parse_call(call, self._memory.names, cut=said.cut) for call in reply.tool_calls]
        run = (
            run or self._calls(said) or [_parse_fence(fence.code) for fence in cells.working(said, self._memory.names)]
        )
        found = tuple(step for step in _with_repairs(run) if isinstance(step, Cell))
        if isinstance(answer, Cell):
            return Landing(cells=(*found, answer), text="")
        return Landing(cells=found, text=_beside(said) if found else answer.text)

    def _judged(self, reply: ModelReply, steps: Sequence[Step]) -> tuple[Step, ...]:
        """The steps, with corrections for the cells that are better not run."""
        cells_run: list[str] = []
        judged = [self._judge(step, cells_run) for step in steps]
        self._memory.hear(reply, astray=all(isinstance(step, Correction) for step in judged))
        return tuple(step for step, before in zip(judged, [None, *judged], strict=False) if not _repeats(step, before))

    def _judge(self, step: Step, cells_run: list[str]) -> Step:
        if not isinstance(step, Cell):
            return step
        if problem := self._memory.problem(step.code, cells_run):
            return Correction(message=problem, call_id=step.call_id)
        cells_run.append(step.code)
        return step

    def _text_steps(self, said: Passages) -> list[Step]:
        """What a text asks for; empty if nothing."""
        if steps := self._calls(said) or self._cells(said):
            return [*steps, *([Correction(message=CUT_OFF)] if said.incomplete else [])]
        if name := prose.final_variable(said.prose):
            return [Cell(code=f"FINAL_VAR({name!r})")]
        if (answer := self._final(said)) is None:
            return []
        code = self._memory.as_code(answer)
        return [Answer(text=answer) if code is None else Cell(code=code)]

    def _final(self, said: Passages) -> str | None:
        """The answer that a text without code gives as such."""
        return prose.final_text(cells.plain_text(said), cut=said.cut)

    def _heard(self, reply: ModelReply) -> Passages:
        """Of what stands between closing tags that nothing opened, the last that says something."""
        last = said = fences.read(reply.text, cut=reply.finish == "length")
        while not self._says(said):
            if said.earlier is None:
                return last
            said = said.earlier
        return said

    def _says(self, said: Passages) -> bool:
        """Whether there is something to follow; of what was cut off, whether it had begun."""
        return (said.cut and bool(said.spoken.strip() or said.incomplete)) or bool(self._text_steps(said))

    def _calls(self, said: Passages) -> list[Step]:
        return _with_repairs(_parse_marked(call, self._memory.names, self._refusal) for call in markup.calls_in(said))

    def _cells(self, said: Passages) -> list[Step]:
        """The fences to run as cells, then what the prose says of a variable, and what the model has to know."""
        found = cells.chosen(said, self._memory.names if self._careful else None)
        if not found:
            return []
        steps = _with_repairs(_parse_fence(unfenced(fence.code)) for fence in found)
        if name := prose.final_variable(said.prose):
            steps.append(Cell(code=f"FINAL_VAR({name!r})"))
        if any(fence.language in PYTHON_TAGS for fence in said.fences if fence not in found):
            steps.append(Correction(message=OTHER_FENCES))
        if self._careful and any(fence.language != "repl" for fence in found):
            steps.append(Correction(message=RAN_TEXT))
        return steps

    def _notes(self, results: Sequence[StepResult]) -> Iterator[Message]:
        """A word to a model that goes in circles."""
        if note := self._memory.circling([result.text for result in results]):
            yield Message(role="user", content=note)


class ToolsDialect(_Hearing):
    """Native tool calls; a reply without any is the final answer."""

    name = "tools"
    native_tools = True
    _careful = True
    _refusal = NATIVE_ONLY

    def parse(self, reply: ModelReply) -> tuple[Step, ...]:
        return self._judged(reply, self._steps(reply))

    def render(self, results: Sequence[StepResult]) -> tuple[Message, ...]:
        messages, loose = [], []
        for result in results:
            call_id = getattr(result.step, "call_id", None)
            if call_id is None:
                loose.append(f"{RAN}\n{result.text}" if isinstance(result.step, Cell) else result.text)
            else:
                messages.append(Message(role="tool", content=result.text, tool_call_id=call_id))
        if loose:
            messages.append(Message(role="user", content="\n\n".join(loose)))
        return (*messages, *self._notes(results))

    def _steps(self, reply: ModelReply) -> Sequence[Step]:
        if reply.tool_calls:
            cut = reply.finish == "length"
            return _with_repairs(_parse_call(call, self._memory.names, cut=cut) for call in reply.tool_calls)
        said = self._heard(reply)
        return self._text_steps(said) or [self._answer(reply, said)]

    def _says(self, said: Passages) -> bool:
        if super()._says(said):
            return True
        if said.blank or prose.remarks(said.spoken):
            return False
        return said.earlier is None or not said.earlier.is_code

    def _answer(self, reply: ModelReply, said: Passages) -> Answer | Correction:
        """A text without code or FINAL."""
        text = said.spoken.strip()
        if reply.finish == "length":
            return Correction(message=CUT_OFF)
        if said.blank:
            return Correction(message=f"{_nothing_in(said, reply)} Call execute_code, or answer in plain text.")
        if markup.looks_called(Text(said.prose)):
            return Correction(message=UNREADABLE)
        if prose.announces(text):
            return Correction(message=ANNOUNCED)
        return Answer(text=text)


class CodeDialect(_Hearing):
    """Fenced code for models without tool calls; prose alone is no answer, FINAL is."""

    name = "code"
    native_tools = False
    _careful = False
    _refusal = NO_TOOLS
    _ask = (
        "Write Python in a ```repl fence to work on the context, and end with FINAL(value) in the code, "
        "or FINAL(your answer) on a line of its own."
    )

    def parse(self, reply: ModelReply) -> tuple[Step, ...]:
        said = self._heard(reply)
        return self._judged(reply, self._text_steps(said) or [self._correction(reply, said)])

    def render(self, results: Sequence[StepResult]) -> tuple[Message, ...]:
        parts = [result.text for result in results]
        if len(parts) > 1:
            parts = [f"[{number} of {len(parts)}]\n{part}" for number, part in enumerate(parts, 1)]
        return (Message(role="user", content="\n\n".join(parts)), *self._notes(results))

    def _final(self, said: Passages) -> str | None:
        answer = super()._final(said)
        return prose.marked_text(said.prose) if answer is None and not said.cut else answer

    def _correction(self, reply: ModelReply, said: Passages) -> Correction:
        if reply.finish == "length":
            problem = CUT_OFF
        else:
            problem = _nothing_in(said, reply) if said.blank else "The reply had no code and no FINAL."
        return Correction(message=f"{problem} {self._ask}")


DIALECTS: Mapping[str, Callable[[], Dialect]] = {"tools": ToolsDialect, "code": CodeDialect}


def choose(wanted: str, *, native_tools: bool) -> Dialect:
    """A dialect of that name, for one completion; `auto` takes native tool calls where the model has them."""
    if wanted == "auto":
        wanted = "tools" if native_tools else "code"
    return DIALECTS[wanted]()


def known(name: str, otherwise: str) -> str:
    """`name` if a dialect has it, which a record needn't have."""
    return name if name in DIALECTS else otherwise


def as_fences(message: Message) -> Message:
    """A message of a conversation with tool calls, for a model that knows of fenced code alone."""
    if message.role == "tool":
        return Message(role="user", content=message.content)
    if message.tool_calls:
        parts = (message.content, *map(_fenced, message.tool_calls))
        return Message(role="assistant", content="\n".join(part for part in parts if part))
    return message


def _fenced(call: ToolCall) -> str:
    if call.name.rpartition(".")[2] == EXECUTE_CODE.name:
        with suppress(ValueError):  # what can't be read was answered by a correction
            return f"```repl\n{read_code(call.arguments)}\n```"
    return f"{call.name}({call.arguments})"


def landing_answer(reply: ModelReply) -> Answer | Cell:
    """Read the last reply of a run: FINAL, FINAL_VAR, the content of a fence that is all of it, or the text itself."""
    said = _last_said(reply, cut=False)
    if name := prose.final_variable(said.prose):
        return Cell(code=f"FINAL_VAR({name!r})")
    answer = prose.final_text(cells.plain_text(said))
    if answer is None and said.fences and not said.prose.strip():  # a last answer in code that will not run
        answer = prose.final_text(said.fences[-1].code)
    if answer is None and len(said.fences) == 1 and said.is_code and not said.calls:
        answer = said.fences[0].code.strip()
    return Answer(text=said.spoken.strip() if answer is None else answer)


def _last_said(reply: ModelReply, *, cut: bool) -> Passages:
    """What the last reply of a run says, or where that is nothing what stands before a stray closing tag."""
    said = fences.read(reply.text, cut=cut)
    while not said.spoken.strip() and said.earlier is not None:
        said = said.earlier
    return said


def _beside(said: Passages) -> str:
    """The answer beside code that is run: a FINAL, else what is said, unless that only announces the code."""
    answer = prose.final_text(said.prose)
    text = said.prose.strip() if answer is None else answer
    return "" if answer is None and (prose.announces(text) or prose.remarks(text)) else text


def plain_reply(text: str) -> str:
    """What a reply says that is to be used as it is: without the thoughts before it, in whichever family's tags, and
    without marks of the end. Empty where the model did nothing but think."""
    messages = channels.messages_in(text, markup.CODE_TOOL)
    said = text if messages is None else messages.said.strip()
    return thoughts.without_thoughts(endings.without_end(said))


def shorten(text: str, limit_chars: int, total_chars: int | None = None) -> str:
    """`text` cut in the middle to about `limit_chars`, with a mark that says how much and what to do.

    `total_chars` is what there was in all, where the middle of `text` is missing already. A text is not cut where that
    would take out less than the mark adds.
    """
    total = len(text) if total_chars is None else total_chars
    mark = (
        f"\n[... {total - limit_chars:,} of {total:,} characters cut here; "
        "keep results in variables and print slices or counts to see more ...]\n"
    )
    if len(text) <= limit_chars + len(mark):
        return text
    head = limit_chars * 3 // 5
    return text[:head] + mark + text[head - limit_chars :]


def _nothing_in(said: Passages, reply: ModelReply) -> str:
    return ONLY_THOUGHT if reply.text.strip() and not said.spoken.strip() else NO_ANSWER


def _repeats(step: Step, before: Step | None) -> bool:
    """Whether it says once more what the step before said, and no call waits for it."""
    return isinstance(step, Correction) and step.call_id is None and step == before


def _parse_call(call: ToolCall, known: Set[str], *, cut: bool) -> Step:
    """A tool call proper."""
    name = _NAME_TAIL.sub("", call.name)
    own = name.rpartition(".")[2]  # some models put a namespace before it
    if own == EXECUTE_CODE.name:
        return _parse_code(call, cut=cut)
    try:
        arguments = read_object(call.arguments)
    except ValueError as error:
        return _unreadable(call, error, cut=cut)
    if own in markup.FUNCTIONS:
        return Cell(code=functions.cell_of(own, arguments, known), call_id=call.id or None)
    return UseTool(name=name, arguments=arguments, call_id=call.id)


def _parse_marked(call: ToolCall, known: Set[str], refusal: str) -> Step:
    """A tool call in the text, which has no id."""
    if not call.name:
        return Correction(message=UNREADABLE)
    step = _parse_call(call, known, cut=False)
    return Correction(message=refusal.format(name=call.name[:NAME_CHARS])) if isinstance(step, UseTool) else step


def _parse_fence(code: str) -> Step:
    """The code of a fence, which may be a call of execute_code as Python would write it."""
    call = markup.spoken_call(code)
    return Cell(code=code) if call is None else _parse_code(call, cut=False)


def _with_repairs(steps: Iterable[Step]) -> list[Step]:
    """The steps with code that can run, and at the end what was repaired in it."""
    made: list[Step] = []
    notes: dict[str, None] = {}
    for step in steps:
        if isinstance(step, Cell) and (mended := repaired(step.code)) is not None:
            made.append(Cell(code=mended.code, call_id=step.call_id))
            notes[mended.what] = None
        else:
            made.append(step)
    return [*made, *([Correction(message=REPAIRED.format(what=", ".join(notes)))] if notes else [])]


def _parse_code(call: ToolCall, *, cut: bool) -> Cell | Correction:
    try:
        return Cell(code=read_code(call.arguments, strictly=cut), call_id=call.id or None)
    except ValueError as error:
        return _unreadable(call, error, cut=cut)


def _unreadable(call: ToolCall, error: ValueError, *, cut: bool) -> Correction:
    problem = CUT_OFF if cut else f"The arguments of {call.name[:NAME_CHARS]} are not valid: {error}."
    return Correction(message=problem, call_id=call.id or None)
