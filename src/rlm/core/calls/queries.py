"""One question of guest code, checked and with its key: a plain model call, or a child completion. Each answers itself;
batches know no more of them than that."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from rlm.core import prompts
from rlm.core.budget import CallEstimate, estimate_message, estimate_tokens
from rlm.core.calls.model import LLM_QUERY, PART_CHARS, ModelCall, ask_model, check_size, part_chars, request_to
from rlm.core.contexts.context import Context
from rlm.core.contexts.excerpt import excerpt
from rlm.core.dialects import plain_reply
from rlm.core.error_texts import revived
from rlm.core.exceptions import MaxDepthExceeded, OutputValidationError, ResumeError, RLMError, RunFailed
from rlm.core.outcome import Outcome
from rlm.core.replay.scope import Call, Earlier, Halt, Scope
from rlm.core.run import Task
from rlm.core.types import Json, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.core.events import CompletionEnd
    from rlm.core.interfaces import Validator
    from rlm.core.run import Complete, Model, Run

PLAIN_CONTEXT_CHARS = 200_000
"""How many characters of a context go into the prompt where a child can't have a REPL."""
AS_CONTEXT = "give the text as rlm_query(prompt, context), which is not a part of the prompt"
OUTPUT_ATTEMPTS = 3
"""How often a sub-call with an `output_type` may answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One llm_query."""

    run: Run
    scope: Scope
    """The cell that asks."""
    key: str
    message: Message
    model: Model
    validator: Validator | None = None
    """Makes a value of the answer; None where its text is wanted."""

    @property
    def words(self) -> str:
        """What is asked."""
        return self.message.content

    async def answer(self) -> Json:
        """The text; with a validator the parsed value, after at most `OUTPUT_ATTEMPTS` answers."""
        if self.validator is None:
            return (await self._text((self.message,))).strip()
        messages = [self.message]
        for attempt in range(1, OUTPUT_ATTEMPTS + 1):
            text = await self._text(tuple(messages))
            try:
                return await self.validator.validate(text)
            except OutputValidationError as error:
                if attempt == OUTPUT_ATTEMPTS:
                    raise
                feedback = Message(role="user", content=f"{error}\nAnswer again, with JSON only.")
                messages += [Message(role="assistant", content=text), feedback]
        raise AssertionError("unreachable")

    async def _text(self, messages: tuple[Message, ...]) -> str:
        schema = None if self.validator is None else self.validator.schema
        call = ModelCall(
            model=self.model,
            request=request_to(self.model, self.run.config, messages, response_schema=schema),
            input_tokens=sum(map(estimate_message, messages)),
            purpose=LLM_QUERY,
            key=self.key,
        )
        return plain_reply((await ask_model(self.run, self.scope, call)).text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildQuery:
    """One rlm_query: a child completion, or a plain call where no child can be."""

    run: Run
    parent: Task
    complete: Complete
    scope: Scope
    """The cell that asks."""
    key: str
    prompt: str
    given: Json
    """The value that the child is to work on; None: what the parent works on."""

    @property
    def words(self) -> str:
        """What is asked."""
        return self.prompt

    async def answer(self) -> Json:
        """The child's value, its best answer with a note, or the text of a plain call."""
        known = self.scope.last_kind(self.key)
        if known == "model":
            return await self._plain()
        make = self._complete if known else self._begin
        call = Call(kind="completion", key=self.key, words=self.prompt, make=make, read=_answer_in)
        return await self.scope.answer(call)

    async def _begin(self, scope: Scope) -> Json:
        """Begin a child that could make one call at least; one that couldn't would leave its prompt in the record.

        Raises:
            LimitReached: there is no room for its prompt, or for more of a record.
        """
        config, model = self.run.config, self.run.find_model(None)
        self.run.recorder.check(self.scope.ledger.caps.record_bytes)
        self.scope.ledger.check_fits(
            CallEstimate(
                input_tokens=estimate_tokens(self.prompt), max_output_tokens=config.max_output_tokens, price=model.price
            )
        )
        return await self._complete(scope)

    async def _complete(self, scope: Scope) -> Json:
        try:
            ledger = self.scope.ledger.child()
        except MaxDepthExceeded:
            return await self._plain()
        async with self.run.slots.slot(ledger) as free:
            if not free:
                return await self._plain()
            check_size(self.run, self.run.find_model(None), estimate_tokens(self.prompt), AS_CONTEXT)
            async with self._context() as context:
                task = Task(
                    prompt=self.prompt,
                    context=context,
                    model=self.run.find_model(None),
                    scope=scope.completion(ledger),
                    clock=self.parent.clock,
                    key=self.key,
                )
                return _answer(await self.complete(task))

    async def _plain(self) -> Json:
        async with self._context() as context:
            data = excerpt(context, self._plain_chars)
        text = prompts.render("plain", prompt=self.prompt, context=data) if data else self.prompt
        message = Message(role="user", content=text)
        query = Query(run=self.run, scope=self.scope, key=self.key, message=message, model=self.run.find_model(None))
        return await query.answer()

    @property
    def _plain_chars(self) -> int:
        """How much of the context goes into a plain call."""
        part, most = part_chars(self.run), PLAIN_CONTEXT_CHARS
        return most if part == PART_CHARS else max(0, part - len(self.prompt))

    @asynccontextmanager
    async def _context(self) -> AsyncIterator[Context]:
        """The context of the child: the parent's where none is given, or where the parent gives its own."""
        if self.given is None:
            yield self.parent.context
        elif isinstance(self.given, Context):  # the wire's form of the REPL's own `context`
            yield self.given
        else:
            own = await asyncio.to_thread(self.run.make_context, self.given)
            try:
                yield own
            finally:
                own.close()


def _answer_in(earlier: Earlier) -> Json:
    end: CompletionEnd = earlier.end
    value = earlier.value if end.status == "completed" else None
    error = None if end.error is None else revived(end.error)
    return _answer(Outcome(**msgspec.structs.asdict(end) | {"value": value, "error": error}))


def _answer(outcome: Outcome) -> Json:
    """What a child's outcome is to its parent: its value, its best answer with a note, or an error."""
    if outcome.status == "completed":
        return outcome.response if outcome.value is None else outcome.value
    if outcome.status == "limit" and outcome.response:
        return f"{outcome.response}\n[This child reached {outcome.limit}; its answer may be incomplete.]"
    if isinstance(outcome.error, ResumeError):
        raise Halt(outcome.error)
    if isinstance(outcome.error, RLMError):
        raise outcome.error
    raise RunFailed(f"the child ended as {outcome.status} without an answer: {outcome.error!r}") from outcome.error
