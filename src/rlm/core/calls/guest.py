"""Answers what guest code calls: llm_query, rlm_query, their batched forms, save_artifact, and the guest tools.

Every call is charged to the completion's ledger before it starts. A failed item of a batch is an exception in the list;
the wire makes an error value of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from rlm.core import prompts
from rlm.core.budget import estimate_message
from rlm.core.calls import arguments
from rlm.core.calls.batches import Batches, Item
from rlm.core.calls.model import ModelCall, ask_model, call_key, call_model, serve_model
from rlm.core.calls.tools import call_tool, find_tool
from rlm.core.contexts.context import Context
from rlm.core.contexts.excerpt import excerpt
from rlm.core.events import ArtifactSaved, ModelEnd, ModelStart
from rlm.core.exceptions import (
    MaxDepthExceeded,
    OutputValidationError,
    ResumeError,
    RLMError,
    RunFailed,
    ToolNotFoundError,
)
from rlm.core.memo import Answered
from rlm.core.replay.serving import Halt, cut_off
from rlm.core.run import Task
from rlm.core.types import Json, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.core.budget import Ledger
    from rlm.core.interfaces import Validator
    from rlm.core.memo import Memo
    from rlm.core.outcome import Outcome
    from rlm.core.record.recorder import Span
    from rlm.core.replay.record import Recorded
    from rlm.core.replay.serving import Place
    from rlm.core.run import Complete, Model, Run
    from rlm.core.types import ModelReply

PLAIN_CONTEXT_CHARS = 200_000
"""How much of a context goes into the prompt where a child can't have a REPL."""
OUTPUT_ATTEMPTS = 3
"""How often a sub-call with an `output_type` may answer."""

MAX_SCHEMA_VALUES = 1_000
"""Checking a schema may take time that grows with the square of its size."""

_TAKE_CONTEXT = frozenset({"rlm_query", "rlm_query_batched"})
"""Functions to which the wire's form of a large `context` means the context itself, not its text."""

GuestFunction: TypeAlias = Callable[..., Awaitable[Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One llm_query, checked."""

    message: Message
    model: Model
    validator: Validator | None


class SubCalls:
    """The functions bound into the REPL of one completion."""

    def __init__(self, run: Run, task: Task, complete: Complete, here: Callable[[], Place]) -> None:
        """`here` gives the cell that is running."""
        self._run = run
        self._task = task
        self._complete = complete
        self._here = here
        self._batches = Batches(run, task)
        self._functions: dict[str, GuestFunction] = {
            "llm_query": self._llm_query,
            "llm_query_batched": self._llm_query_batched,
            "rlm_query": self._rlm_query,
            "rlm_query_batched": self._rlm_query_batched,
            "save_artifact": self._save_artifact,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Every name to bind in the guest."""
        helpers = (each.spec.name for each in self._run.helpers or ())
        return (*self._functions, *self._run.guest_tools, *helpers)

    def bind(self, name: str, function: GuestFunction) -> None:
        """Bind one more function in the guest."""
        self._functions[name] = function

    async def __call__(self, name: str, args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> Json:
        """Answer one call of guest code.

        Raises:
            RLMError: refused or failed, with a message fit for the model.
            TypeError, ValueError: the arguments don't fit.
        """
        if name not in _TAKE_CONTEXT:
            args, kwargs = (
                tuple(map(arguments.value, args)),
                {key: arguments.value(value) for key, value in kwargs.items()},
            )
        if name in self._functions:
            return await _bound(name, self._functions[name], args, kwargs)
        if name in self._run.guest_tools or "." in name:
            named = arguments.by_position(find_tool(self._run, name).spec.parameters, args, kwargs)
            return await call_tool(self._run, self._task.ledger, self._here(), name, named, caller="guest")
        raise ToolNotFoundError(f"guest code may not call {name!r}")

    async def _llm_query(
        self, prompt: str, *, model: str | None = None, output_type: Json = None, images: Json = None
    ) -> Json:
        given = None if images is None else [images]
        (answer,) = await self._llm_query_batched([prompt], model=model, output_type=output_type, images=given)
        return _raise_failed(answer)

    async def _llm_query_batched(
        self, prompts: Sequence[str], *, model: str | None = None, output_type: Json = None, images: Json = None
    ) -> list[Json]:
        found = self._run.find_model(arguments.text_or_none(model, "model"))
        validator = None if output_type is None else await self._validator(output_type)
        messages = arguments.messages(arguments.texts(prompts, "prompts"), images, validator)
        queries = [Query(message=message, model=found, validator=validator) for message in messages]
        return await self._batches.answer([self._item_of(query) for query in queries])

    def _item_of(self, query: Query) -> Item:
        images = [image.digest for image in query.message.images]
        key = self._here().key("llm_query", query.model.label, query.message.content, images)
        return Item(key=key, place=self._here(), answer=lambda item: self._ask(query, item))

    async def _validator(self, schema: Json) -> Validator | None:
        """The validator of a schema that guest code made up: bounded, and read off the event loop."""
        if arguments.values(schema, MAX_SCHEMA_VALUES) > MAX_SCHEMA_VALUES:
            raise ValueError(f"output_type has more than {MAX_SCHEMA_VALUES} values; give a smaller schema")
        return await asyncio.to_thread(self._run.validator_for, schema)

    async def _rlm_query(self, prompt: str, context: Json = None) -> Json:
        (answer,) = await self._rlm_query_batched([prompt], [context])
        return _raise_failed(answer)

    async def _rlm_query_batched(self, prompts: Sequence[str], contexts: Sequence[Json] | None = None) -> list[Json]:
        texts = arguments.texts(prompts, "prompts")
        given = [None] * len(texts) if contexts is None else list(contexts)
        if len(given) != len(texts):
            raise ValueError(f"{len(texts)} prompts but {len(given)} contexts")
        return await self._batches.answer([self._child_of(*pair) for pair in zip(texts, given, strict=True)])

    def _child_of(self, prompt: str, given: Json) -> Item:
        data = given.digest if isinstance(given, Context) else given
        key = self._here().key("rlm_query", prompt, data)
        return Item(key=key, place=self._here(), answer=lambda item: self._recurse(prompt, given, item))

    async def _save_artifact(self, name: str, data: str | bytes) -> Json:
        if not isinstance(data, str | bytes):
            raise TypeError(f"data must be str or bytes, not {type(data).__name__}")
        content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        place = self._here()
        key = place.key("artifact", arguments.text(name, "name"), content)
        known = place.artifact(key)
        saved = self._run.save_artifact(known or name, content)
        digest = hashlib.sha256(content).hexdigest()
        note = ArtifactSaved(name=known or saved, size_bytes=len(content), digest=digest, key=key)
        self._run.recorder.record(place.span, note)
        return known or saved

    async def _ask(self, query: Query, item: Item) -> Json:
        """One llm_query; with a validator, the parsed value, after at most `OUTPUT_ATTEMPTS` answers."""
        if query.validator is None:
            return (await self._call(query, (query.message,), item)).strip()
        messages = [query.message]
        for attempt in range(1, OUTPUT_ATTEMPTS + 1):
            text = await self._call(query, tuple(messages), item)
            try:
                return await asyncio.to_thread(query.validator.validate, text)
            except OutputValidationError as error:
                if attempt == OUTPUT_ATTEMPTS:
                    raise
                feedback = Message(role="user", content=f"{error}\nAnswer again, with JSON only.")
                messages += [Message(role="assistant", content=text), feedback]
        raise AssertionError("unreachable")

    async def _call(self, query: Query, messages: tuple[Message, ...], item: Item) -> str:
        call = ModelCall(
            model=query.model,
            messages=messages,
            input_tokens=sum(map(estimate_message, messages)),
            purpose="llm_query",
            response_schema=None if query.validator is None else query.validator.schema,
            prompt=messages[-1].content,
            images=messages[-1].images,
            key=item.key,
        )
        if self._run.memo is None:
            return (await ask_model(self._run, self._task.ledger, item.place, call)).text
        return (await self._memoised(call, item.place, self._run.memo)).text

    async def _memoised(self, call: ModelCall, place: Place, memo: Memo) -> ModelReply:
        known_as = call_key(call, self._run.config)
        call = replace(call, digest=self._run.recall.digest(known_as))
        ledger = self._task.ledger
        if (served := await serve_model(self._run, ledger, place, call)) is not None:
            memo.learn(known_as, served)
            return served.reply
        span = place.span.child()

        async def make() -> Answered:
            place.go_live(call.prompt or "")
            return Answered(reply=await call_model(self._run, ledger, span, call), span=span.id)

        answered = await memo.answer(known_as, make)
        if not answered.fresh:
            self._note_recalled(call, span, answered)
        return answered.reply

    def _note_recalled(self, call: ModelCall, span: Span, answered: Answered) -> None:
        """Record a call that cost nothing; what another event of the run holds is not written again."""
        known = answered.span is not None
        start = ModelStart(
            model=call.model.label,
            purpose=call.purpose,
            max_output_tokens=0,
            input_tokens_estimate=0,
            prompt=None if known else call.prompt,
            images=[] if known else self._run.recorder.keep(call.images),
            key=call.key,
            digest=call.digest,
        )
        self._run.recorder.record(span, start)
        text = "" if known else answered.reply.text
        end = ModelEnd(text=text, finish=answered.reply.finish, cost_usd=0.0, cached=True, same_as=answered.span)
        self._run.recorder.record(span, end)

    async def _recurse(self, prompt: str, given: Json, item: Item) -> Json:
        """One rlm_query: a child completion, or a plain call where no child can be."""
        recorded = item.place.next(item.key, "completion")
        if recorded is not None and self._is_served_whole(recorded, item.place):
            return await self._recorded_child(recorded)
        if recorded is None and item.place.has(item.key):
            return await self._plain(prompt, given, item)
        try:
            ledger = self._task.ledger.child()
        except MaxDepthExceeded:
            return await self._plain(prompt, given, item)
        async with self._run.slots.slot(ledger) as free:
            if not free:
                return await self._plain(prompt, given, item)
            if recorded is None:
                item.place.go_live(prompt)
            async with self._child_context(given) as context:
                return _answer(await self._complete(self._child(prompt, context, ledger, item, recorded)))

    def _is_served_whole(self, recorded: Recorded, place: Place) -> bool:
        """Whether a child came to its end; a replay runs it again all the same."""
        if self._run.recall.is_replay or recorded.end is None:
            return False
        return recorded.has_ended or place.is_sealed

    async def _recorded_child(self, recorded: Recorded) -> Json:
        """The answer of a child that came to its end in the record; its cells need not run again."""
        self._run.recall.copy(recorded, self._task.ledger)
        outcome = self._run.recall.outcome_of(recorded)
        if outcome.status == "cancelled":
            await cut_off()
        return _answer(outcome)

    def _child(self, prompt: str, context: Context, ledger: Ledger, item: Item, recorded: Recorded | None) -> Task:
        place = item.place
        return Task(
            prompt=prompt,
            context=context,
            model=self._run.find_model(None),
            ledger=ledger,
            span=place.span.child() if recorded is None else place.span_of(recorded),
            answer_by=self._task.answer_by,
            key=item.key,
            recorded=recorded,
        )

    @asynccontextmanager
    async def _child_context(self, given: Json) -> AsyncIterator[Context]:
        """The context of a child: the parent's where none is given, or where it is given by the parent itself."""
        if given is None:
            yield self._task.context
        elif isinstance(given, Context):  # the wire's form of the REPL's own `context`
            yield given
        else:
            own = await asyncio.to_thread(self._run.make_context, given)
            try:
                yield own
            finally:
                own.close()

    async def _plain(self, prompt: str, given: Json, item: Item) -> Json:
        async with self._child_context(given) as context:
            data = excerpt(context, PLAIN_CONTEXT_CHARS)
        text = prompts.render("plain", prompt=prompt, context=data) if data else prompt
        message = Message(role="user", content=text)
        return await self._ask(Query(message=message, model=self._run.find_model(None), validator=None), item)


async def _bound(name: str, function: GuestFunction, args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> Json:
    try:
        pending = function(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}(){str(error).partition('()')[2]}") from None
    return await pending


def _raise_failed(answer: Json) -> Json:
    if isinstance(answer, Exception):
        raise answer
    return answer


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
