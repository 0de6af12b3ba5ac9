"""The state of one completion, and one turn of it: a model call and the steps that its reply asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rlm.core import dialects
from rlm.core.calls.guest import SubCalls
from rlm.core.calls.model import TURN, ModelCall, ask_model, request_to
from rlm.core.calls.tools import call_tool
from rlm.core.contexts.citations import cite_all
from rlm.core.dialects import EXECUTE_CODE, Answer, Cell, Correction, StepResult, UseTool, codelike, fences, shorten
from rlm.core.events import Compaction, Limit, TurnEnd, TurnStart, Warned
from rlm.core.exceptions import (
    ContextOverflowError,
    LimitReached,
    NoProgress,
    OutputValidationError,
    REPLExecutionError,
    RLMError,
    ToolsRefusedError,
    TurnLimitReached,
)
from rlm.core.loop import shown
from rlm.core.loop.advice.adviser import Adviser
from rlm.core.loop.cells import CellRecord, result_in, run_cell
from rlm.core.loop.compaction import COMPACTION, compact, is_full
from rlm.core.loop.conversation import Conversation
from rlm.core.loop.instructions import system_prompt, task_prompt
from rlm.core.loop.pace import Pace
from rlm.core.off_loop import off_loop, off_loop_if_large
from rlm.core.replay.scope import Call
from rlm.core.types import ExecResult, Final, Message, ReplSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rlm.core.dialects import Step
    from rlm.core.events import Advised
    from rlm.core.interfaces import Repl
    from rlm.core.replay.scope import Scope
    from rlm.core.run import Complete, Run, Task
    from rlm.core.types import Json, ModelReply, ToolSpec

_OF_THE_RUN = frozenset({"without tools", "unlooked"})
"""What the model is told once in a run, whatever it is asked there."""
NEAR_END = 0.8
"""The share of the turns, or of the time, after which the model is told that the limit is near."""


REPEATED_CHARS = 1_000
"""Longer code is not held against what was printed."""
ANEW_CHARS = 1_000
"""How much is kept of what the last reply came to, where the model is asked anew."""
ANSWERED = "That was taken as the answer. The user has gone on, see below; the REPL has all its variables."
"""What the model is told of a step that ended the task, where the user asks another question after it."""
NOT_RUN = "This was not run: the answer came before it."
UNLOOKED = "Nothing was run yet. Call execute_code to look at the data; if that was the answer, send it again."


class Completion:
    """One completion in progress; used by one task."""

    def __init__(self, run: Run, task: Task, complete: Complete) -> None:
        self.run = run
        self.task = task
        own = dialects.choose(run.config.dialect, native_tools=task.model.native_tools).name
        self._own_dialect = own
        """The dialect of the model that answers live; what is served may have been said in another."""
        self.dialect = dialects.DIALECTS[dialects.known(task.scope.dialect(own), own)]()
        self._first_dialect = self.dialect.name
        self.conversation = Conversation(run.recorder, task.scope.span, self._specs())
        self.said = ""
        """The last thing that the model said, but for code."""
        self.printed = ""
        """The last thing that a cell printed."""
        self.held: Final | None = None
        """The last answer that was not taken at once."""
        self.pace = Pace()
        self.turns = 0
        self._printed = ""
        """The end of what the cell in progress has printed."""
        self._answered_at = 0
        """The turn with the answer to the question before this one; 0: this is the first."""
        self._said_so = False
        """Whether the last cell was nothing but a number or a text."""
        self._cells = 0
        self._cell = task.scope
        """The cell in progress, or the last one."""
        self._told: set[str] = set()
        self._stuck: str | None = None
        """Why nothing more is to be hoped for from what the model's code does."""
        self._adviser = Adviser(task, run.config, lambda: self.conversation.told)
        self._subcalls = SubCalls(run, task, complete, lambda: self._cell)
        self._subcalls.bind("read_history", self._read_history)
        self._repl: Repl | None = None
        self._record: CellRecord | None = None
        self._masked_output: tuple[ExecResult | None, str] = (None, "")
        """The last cell that ran, and all of its output as it was masked for the record."""

    @property
    def best(self) -> str:
        """The answer where no better one can be had."""
        return (self.held.text if self.held else "") or self.said or self.printed

    async def open(self) -> None:
        """Write the first messages and open the REPL.

        Raises:
            SandboxUnavailableError: the sandbox can't run here; no model was called.
        """
        system = Message(role="system", content=system_prompt(self.run, self.task, self.dialect))
        task = Message(role="user", content=task_prompt(self.task), images=self.task.images)
        await self.conversation.add(await self.task.scope.messages((system, task)))
        names, seed = self._subcalls.names, self.task.scope.seed
        spec = ReplSpec(call=self._call, functions=names, on_output=self._on_output, seed=seed)
        self._repl = await self.run.sandbox.open(self.task.context, spec)

    async def aclose(self) -> None:
        """Kill the REPL; idempotent."""
        repl, self._repl = self._repl, None
        if repl is not None:
            await repl.aclose()

    async def turn(self) -> Final | None:
        """Make one turn; return the final answer if it gave a valid one.

        Raises:
            LimitReached: a cap keeps the turn from being made.
            RLMError: the model or the sandbox failed.
        """
        await self.task.clock.going()
        self._begin_turn()
        scope = await self.task.scope.turn(self.turns)
        self._speak(dialects.known(scope.dialect(self._own_dialect), self._own_dialect))
        if added := scope.added():
            await self.conversation.add(added)
            if scope.begins_anew():
                self._begin_anew(self.turns - 1)
                scope.ledger.count_turn()
        dialect = None if self.dialect.name == self._first_dialect else self.dialect.name
        self.run.recorder.record(scope.span, TurnStart(turn=self.turns, dialect=dialect))
        try:
            reply = await self._call_model(scope)
            return await self._follow(scope, await off_loop_if_large(self.dialect.parse, reply))
        except ToolsRefusedError as refusal:
            self._go_on_without_tools(refusal)
            return None
        finally:
            self.run.recorder.record(scope.span, TurnEnd(turn=self.turns))

    def _go_on_without_tools(self, refusal: ToolsRefusedError) -> None:
        """Have the model write fenced code from the next turn on, unless the user has asked for tool calls."""
        if self.run.config.dialect == "tools" or "without tools" in self._told:
            raise refusal
        self._told.add("without tools")
        self._own_dialect = "code"
        note = f"{self.task.model.label} takes no tool calls here: it goes on in fenced code"
        self.run.recorder.record(self.task.scope.span, Warned(message=note))

    def _speak(self, name: str) -> None:
        """Go on in that dialect: the model is told how to work anew, and the conversation in a form that it knows."""
        if name == self.dialect.name:
            return
        self.dialect = dialects.DIALECTS[name]()
        system = Message(role="system", content=system_prompt(self.run, self.task, self.dialect))
        told = _as_it_is if self.dialect.native_tools else dialects.as_fences
        self.conversation.retell(system, self._specs(), told)

    async def execute(self, code: str, scope: Scope) -> ExecResult:
        """Run one cell of a turn, or of the landing."""
        if self._repl is None:
            raise REPLExecutionError("the REPL was never opened")
        self._cells += 1
        run = partial(self._execute, self._repl, code)
        return await scope.answer(Call(kind="exec", words=code, make=run, read=result_in))

    async def _execute(self, repl: Repl, code: str, scope: Scope) -> ExecResult:
        self._cell = scope
        masked: list[str] = []
        self._record = record = CellRecord(self.run, scope, masked.append)
        await record.begin(self._cells, code)
        self._printed, result = "", None
        try:
            result = await run_cell(self.run, repl, code)
        finally:
            printed = self._printed if result is None else result.output
            self.printed = shorten(printed, self.run.config.cell_output_chars).strip() or self.printed
            await record.end(result)
        self._masked_output = (result, "".join(masked))
        return result

    async def _call(self, name: str, args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> Json:
        """Answer one call of guest code."""
        self._adviser.query(name, args, kwargs)
        answer = await self._subcalls(name, args, kwargs)
        self._adviser.answered(name, answer)
        return answer

    async def accept(self, final: Final) -> Final:
        """The answer as `output_type`, its sources checked.

        Raises:
            OutputValidationError: it does not fit.
        """
        quotes = [source.quote for source in final.sources]
        sources = await off_loop(cite_all, self.task.context, quotes) if quotes else ()
        value = final.value if self.task.validator is None else await self.task.validator.validate(final.value)
        return replace(final, value=value, sources=sources)

    def _begin_turn(self) -> None:
        cap = self.task.scope.ledger.caps.max_turns
        if reason := self.dialect.stuck or self._stuck:
            raise NoProgress(reason)
        if self.turns - self._answered_at >= cap and not self.task.scope.is_free(self.turns + 1):
            raise TurnLimitReached(f"max_turns of {cap} turns reached")
        self.turns += 1
        self._adviser.begin_turn()
        self.task.scope.ledger.count_turn()

    async def _call_model(self, scope: Scope) -> ModelReply:
        full = is_full(self.run, self.task, self.conversation)
        if scope.begins_with(COMPACTION, otherwise=full):
            await self._compact(scope)
        try:
            reply = await self._request_turn(scope)
        except ContextOverflowError:
            if not await self._compact(scope):
                raise
            reply = await self._request_turn(scope)
        self.conversation.add_reply(reply)
        prose = (await off_loop_if_large(fences.split, reply.text))[1]
        self.said = prose.strip() or self.said  # code is no answer
        return reply

    async def _request_turn(self, scope: Scope) -> ModelReply:
        model, messages = self.task.model, self.conversation.messages
        request = request_to(model, self.run.config, messages, tools=self._specs())
        call = ModelCall(
            model=model,
            request=replace(request, temperature=self._adviser.temperature),
            input_tokens=self.conversation.input_tokens,
            purpose=TURN,
        )
        asked_at_s = self.task.clock.elapsed_s
        reply = await ask_model(self.run, scope, call)
        reply_s = self.task.clock.elapsed_s - asked_at_s
        self.pace.heard(reply_s, reply.usage.output_tokens)
        if self.task.is_root:
            self.task.clock.heard(reply_s)
        return reply

    async def _compact(self, scope: Scope) -> bool:
        done = await compact(self.run, self.task, self.conversation, scope)
        if done:
            await self.execute("history = read_history()", scope)
        return done

    async def _read_history(self) -> list[dict[str, str]]:
        return self.conversation.history

    async def _follow(self, scope: Scope, steps: Sequence[Step]) -> Final | None:
        results: list[StepResult] = []
        for step in steps:
            done = await self._do(step, scope)
            if isinstance(done, Final):
                if not scope.is_asked_on():
                    return done
                results += self._gone_on(steps[len(results) :])
                break
            results.append(StepResult(step=step, text=done))
        messages = self.dialect.render(results)
        limits = scope.limits_near(self._near, after=len(messages))
        self._told |= {limit.name for limit in limits}
        advised = self._advised(scope, self._notes, after=len(messages))
        self._stuck = next((each.message for each in advised if each.way == "landing"), None)
        await self.conversation.add(await scope.messages(messages, _notices(limits, advised)))
        if anew := next((each.message for each in advised if each.way == "anew"), ""):
            self._ask_anew(anew, results)
        return None

    def _ask_anew(self, said: str, results: Sequence[StepResult]) -> None:
        """Go on without the replies so far, but for what the last one came to."""
        came_to = shorten(results[-1].text, ANEW_CHARS)
        summary = Message(role="user", content=f"[{said}]\nThe last one came to this:\n{came_to}")
        dropped = self.conversation.replace_middle(len(self.conversation.messages), summary)
        self.run.recorder.record(self.task.scope.span, Compaction(dropped=dropped, content=summary.content))

    def _gone_on(self, steps: Sequence[Step]) -> list[StepResult]:
        """What is said of the step that gave the answer to one question, and of those after it; the next has caps of
        its own."""
        self._begin_anew(self.turns)
        return [StepResult(step=step, text=ANSWERED if number == 0 else NOT_RUN) for number, step in enumerate(steps)]

    def _advised(self, scope: Scope, now: Callable[[], Iterable[Advised]], after: int | None = None) -> list[Advised]:
        """What the runtime has to say of what went wrong, recorded."""

        def recorded() -> Iterator[Advised]:
            for each in now() if self.run.config.advice else ():
                self.run.recorder.record(self.task.scope.span, each)
                yield each

        advised = scope.advice(recorded, after)
        self._adviser.said(advised)
        return advised

    def _begin_anew(self, answered_at: int) -> None:
        """Count turns and spend from here, after that turn."""
        self._answered_at = answered_at
        self._told &= _OF_THE_RUN
        self.task.scope.ledger.begin_anew()

    async def _do(self, step: Step, scope: Scope) -> Final | str:
        """Follow one step: the final answer, or what the model is shown."""
        match step:
            case Cell(code=code):
                code = self._as_final(code)
                await off_loop_if_large(self._adviser.begin, code)
                result = await self.execute(code, scope)
                await off_loop_if_large(self._adviser.end, code, result)
                if result.final is not None:
                    return await self._final_or_feedback(result.final, scope, in_code=True)
                return await off_loop_if_large(self._shown, result)
            case UseTool(name=name, arguments=arguments):
                return await self._use_tool(name, arguments, scope)
            case Answer() if self._unlooked():
                return UNLOOKED
            case Answer(text=text):
                return await self._final_or_feedback(Final(value=text, text=text), scope, in_code=False)
            case Correction(message=message):
                return message

    def _as_final(self, code: str) -> str:
        """Code that is no more than what another cell printed last gives that as the answer: it does nothing else."""
        said = codelike.constant(code) if len(code) <= REPEATED_CHARS else None
        is_answer = said is not None and str(said) == self.printed and not self._said_so
        self._said_so = said is not None
        return f"FINAL({said!r})" if is_answer else code

    def _unlooked(self) -> bool:
        """Whether this is a first answer before any of the data was looked at; said once."""
        unlooked = not self._cells and self.task.context.kind != "none" and self.dialect.native_tools
        if not unlooked or "unlooked" in self._told:
            return False
        self._told.add("unlooked")
        return True

    async def _use_tool(self, name: str, arguments: Mapping[str, Json], scope: Scope) -> str:
        try:
            result = await call_tool(self.run, scope, name, arguments, caller="model")
        except LimitReached:
            raise
        except RLMError as error:
            return await off_loop_if_large(self._masked, f"Error: {error}")
        return await off_loop_if_large(self._result_text, result)

    async def _final_or_feedback(self, final: Final, scope: Scope, *, in_code: bool) -> Final | str:
        try:
            accepted = await self.accept(final)
            checked = replace(final, sources=accepted.sources)
            if not (held := self._advised(scope, partial(self._why_held, checked, in_code=in_code))):
                return accepted
            self.held = final
            return await off_loop_if_large(self._masked, held[0].message)
        except OutputValidationError as error:
            said = f"The final value was not accepted: {error}\nCorrect it and call FINAL again."
            return await off_loop_if_large(self._masked, said)

    def _why_held(self, final: Final, *, in_code: bool) -> Iterable[Advised]:
        """Why an answer is not taken at once; where a limit is near it is."""
        return () if self._is_near else self._adviser.held(final, in_code=in_code)

    def _notes(self) -> Iterable[Advised]:
        """What is said after the results of a turn; near a limit, of which the model is told, it is not asked anew."""
        return (each for each in self._adviser.notes() if each.way != "anew" or not self._is_near)

    @property
    def _is_near(self) -> bool:
        """Whether a limit is near."""
        return any((*self.task.scope.ledger.near(), *self._own_near()))

    def _result_text(self, result: Json) -> str:
        """What the model sees of a tool's result."""
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
        return shorten(self._masked(text), self.run.config.cell_output_chars)

    def _shown(self, result: ExecResult) -> str:
        """What the model sees of a cell."""
        limit_chars = self._adviser.shown_chars
        error = shorten(self._masked(shown.error_text(result)), limit_chars)
        of, masked = self._masked_output
        parts = [
            shown.output_text(result, limit_chars, (lambda _output: masked) if of is result else self._masked),
            error,
            self._masked(shown.variables_text(result)),
        ]
        return "\n".join(part for part in parts if part) or shown.silence_text(result)

    def _near(self) -> Iterator[Limit]:
        """The limits that are near and of which the model wasn't told, recorded."""
        for name, message in (*self.task.scope.ledger.near(), *self._own_near()):
            if name not in self._told:
                limit = Limit(name=name, state="near", message=message)
                self.run.recorder.record(self.task.scope.span, limit)
                yield limit

    def _own_near(self) -> Iterator[tuple[str, str]]:
        cap = self.task.scope.ledger.caps.max_turns
        turns = self.turns - self._answered_at
        if turns >= NEAR_END * cap:
            yield "max_turns", f"turn {turns} of {cap} is done"
        clock = self.task.clock
        if self.task.is_root and clock.turns_s is not None and clock.elapsed_s >= NEAR_END * clock.turns_s:
            yield "timeout_s", f"{clock.elapsed_s:.0f} of {clock.timeout_s:g} s have passed"

    def _specs(self) -> tuple[ToolSpec, ...]:
        return (EXECUTE_CODE, *(tool.spec for tool in self.run.tools)) if self.dialect.native_tools else ()

    def _on_output(self, text: str) -> None:
        if self._record is not None:
            self._record.output(text)
            self._printed = (self._printed + text)[-self.run.config.cell_output_chars :]

    def _masked(self, text: str) -> str:
        """`text` as the model may see it."""
        return text if self.run.masker is None else self.run.masker.mask(text)


def _notices(limits: Sequence[Limit], advised: Sequence[Advised]) -> list[Message]:
    """What the model is told of limits that are near, and of what went wrong."""
    lines = [f"[A limit is near: {limit.message}. Come to an answer soon.]" for limit in limits]
    lines += [f"[Note: {each.message}]" for each in advised if each.way == "note"]
    return [Message(role="user", content="\n".join(lines))] if lines else []


def _as_it_is(message: Message) -> Message:
    return message
