"""Answers what guest code calls: llm_query, rlm_query, their batched forms, save_artifact, and the guest tools.

Every call is charged to the completion's ledger before it starts. A failed item of a batch is an exception in the list;
the wire makes an error value of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rlm.core import prompts
from rlm.core.budget import estimate_message
from rlm.core.calls import ModelCall, call_key, call_model
from rlm.core.context import Context
from rlm.core.events import ArtifactSaved, ModelEnd, ModelStart
from rlm.core.exceptions import (
    MaxDepthExceeded,
    OutputValidationError,
    RLMError,
    RunFailed,
    TimeLimitReached,
    ToolNotFoundError,
)
from rlm.core.excerpt import excerpt, whole_text
from rlm.core.memo import Answered
from rlm.core.run import Task
from rlm.core.toolcalls import call_tool
from rlm.core.types import Image, Json, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.core.budget import Ledger
    from rlm.core.interfaces import Validator
    from rlm.core.recorder import Span
    from rlm.core.run import Complete, Model, Outcome, Run

PLAIN_CONTEXT_CHARS = 200_000
"""How much of a context goes into the prompt where a child can't have a REPL."""
OUTPUT_ATTEMPTS = 3
"""How often a sub-call with an `output_type` may answer."""

MAX_SCHEMA_VALUES = 1_000
"""Checking a schema may take time that grows with the square of its size."""

_TAKE_CONTEXT = frozenset({"rlm_query", "rlm_query_batched"})
"""Functions to which the wire's form of a large `context` means the context itself, not its text."""

_LATE = "the time of the run is nearly up: this sub-call was cut short; answer with what there is"

GuestFunction: TypeAlias = Callable[..., Awaitable[Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One llm_query, checked."""

    message: Message
    model: Model
    validator: Validator | None


class SubCalls:
    """The functions bound into the REPL of one completion."""

    def __init__(self, run: Run, task: Task, complete: Complete, here: Callable[[], Span]) -> None:
        """`here` gives the span of the cell that is running."""
        self._run = run
        self._task = task
        self._complete = complete
        self._here = here
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
        return (*self._functions, *self._run.guest_tools)

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
            args, kwargs = tuple(map(_value, args)), {key: _value(value) for key, value in kwargs.items()}
        if name in self._functions:
            return await _bound(name, self._functions[name], args, kwargs)
        if name in self._run.guest_tools:
            arguments = _by_position(self._run.tools.get(name).spec.parameters, args, kwargs)
            return await call_tool(self._run, self._task.ledger, self._here(), name, arguments, caller="guest")
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
        found = self._run.find_model(_text_or_none(model, "model"))
        validator = None if output_type is None else await self._validator(output_type)
        messages = _messages(_texts(prompts, "prompts"), images, validator)
        queries = [Query(message=message, model=found, validator=validator) for message in messages]
        return await self._batch([lambda query=query: self._ask(query) for query in queries])  # type: ignore[misc]

    async def _validator(self, schema: Json) -> Validator | None:
        """The validator of a schema that guest code made up: bounded, and read off the event loop."""
        if _values(schema, MAX_SCHEMA_VALUES) > MAX_SCHEMA_VALUES:
            raise ValueError(f"output_type has more than {MAX_SCHEMA_VALUES} values; give a smaller schema")
        return await asyncio.to_thread(self._run.validator_for, schema)

    async def _rlm_query(self, prompt: str, context: Json = None) -> Json:
        (answer,) = await self._rlm_query_batched([prompt], [context])
        return _raise_failed(answer)

    async def _rlm_query_batched(self, prompts: Sequence[str], contexts: Sequence[Json] | None = None) -> list[Json]:
        texts = _texts(prompts, "prompts")
        given = [None] * len(texts) if contexts is None else list(contexts)
        if len(given) != len(texts):
            raise ValueError(f"{len(texts)} prompts but {len(given)} contexts")
        pairs = zip(texts, given, strict=True)
        return await self._batch([lambda pair=pair: self._recurse(*pair) for pair in pairs])  # type: ignore[misc]

    async def _save_artifact(self, name: str, data: str | bytes) -> Json:
        if not isinstance(data, str | bytes):
            raise TypeError(f"data must be str or bytes, not {type(data).__name__}")
        content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        saved = self._run.save_artifact(_text(name, "name"), content)
        self._run.recorder.record(self._here(), ArtifactSaved(name=saved, size_bytes=len(content)))
        return saved

    async def _batch(self, items: Sequence[Callable[[], Awaitable[Json]]]) -> list[Json]:
        """Answer all items at once, in their order; those beyond the sub-call budget are refused."""
        if self._left_s() == 0.0:
            return [TimeLimitReached(_LATE) for _ in items]
        granted = self._task.ledger.count_subcalls(len(items))
        answers = await self._all([asyncio.ensure_future(_caught(item)) for item in items[:granted]])
        return [*answers, *(self._task.ledger.subcalls_exhausted() for _ in items[granted:])]

    async def _all(self, tasks: Sequence[asyncio.Future[Json]]) -> list[Json]:
        """What every task gives; those that time is too short for are cancelled, and give an error value."""
        if not tasks:
            return []
        try:
            await asyncio.wait(tasks, timeout=self._left_s())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [TimeLimitReached(_LATE) if task.cancelled() else task.result() for task in tasks]

    def _left_s(self) -> float | None:
        by = self._task.answer_by
        return None if by is None else max(0.0, by - asyncio.get_running_loop().time())

    async def _ask(self, query: Query) -> Json:
        """One llm_query; with a validator, the parsed value, after at most `OUTPUT_ATTEMPTS` answers."""
        if query.validator is None:
            return (await self._call(query, (query.message,))).strip()
        messages = [query.message]
        for attempt in range(1, OUTPUT_ATTEMPTS + 1):
            text = await self._call(query, tuple(messages))
            try:
                return await asyncio.to_thread(query.validator.validate, text)
            except OutputValidationError as error:
                if attempt == OUTPUT_ATTEMPTS:
                    raise
                feedback = Message(role="user", content=f"{error}\nAnswer again, with JSON only.")
                messages += [Message(role="assistant", content=text), feedback]
        raise AssertionError("unreachable")

    async def _call(self, query: Query, messages: tuple[Message, ...]) -> str:
        call = ModelCall(
            model=query.model,
            messages=messages,
            input_tokens=sum(map(estimate_message, messages)),
            purpose="llm_query",
            response_schema=None if query.validator is None else query.validator.schema,
            prompt=messages[-1].content,
            images=messages[-1].images,
        )
        span = self._here().child()
        if self._run.memo is None:
            return (await self._made(call, span)).reply.text
        answered = await self._run.memo.answer(call_key(call, self._run.config), lambda: self._made(call, span))
        if not answered.fresh:
            self._note_recalled(call, span, answered)
        return answered.reply.text

    async def _made(self, call: ModelCall, span: Span) -> Answered:
        return Answered(reply=await call_model(self._run, self._task.ledger, span, call), span=span.id)

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
        )
        self._run.recorder.record(span, start)
        text = "" if known else answered.reply.text
        end = ModelEnd(text=text, finish=answered.reply.finish, cost_usd=0.0, cached=True, same_as=answered.span)
        self._run.recorder.record(span, end)

    async def _recurse(self, prompt: str, given: Json) -> Json:
        """One rlm_query: a child completion, or a plain call where no child can be."""
        try:
            ledger = self._task.ledger.child()
        except MaxDepthExceeded:
            return await self._plain(prompt, given)
        async with self._run.slots.slot(ledger) as free:
            if not free:
                return await self._plain(prompt, given)
            async with self._child_context(given) as context:
                return _answer(await self._complete(self._child(prompt, context, ledger)))

    def _child(self, prompt: str, context: Context, ledger: Ledger) -> Task:
        return Task(
            prompt=prompt,
            context=context,
            model=self._run.find_model(None),
            ledger=ledger,
            span=self._here().child(),
            answer_by=self._task.answer_by,
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

    async def _plain(self, prompt: str, given: Json) -> Json:
        async with self._child_context(given) as context:
            data = excerpt(context, PLAIN_CONTEXT_CHARS)
        text = prompts.render("plain", prompt=prompt, context=data) if data else prompt
        message = Message(role="user", content=text)
        return await self._ask(Query(message=message, model=self._run.find_model(None), validator=None))


async def _bound(name: str, function: GuestFunction, args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> Json:
    try:
        pending = function(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}(){str(error).partition('()')[2]}") from None
    return await pending


async def _caught(item: Callable[[], Awaitable[Json]]) -> Json:
    try:
        return await item()
    except (RLMError, ValueError, TypeError, LookupError, OSError) as error:  # what the wire raises in guests
        return error


def _values(value: Json, most: int) -> int:
    """How many values there are in `value`, counted no further than just above `most`."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        item = waiting.pop()
        count += 1
        waiting += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return count


def _value(argument: Json) -> Json:
    """An argument as a value: where the wire stands in for a large `context`, its text."""
    return whole_text(argument) if isinstance(argument, Context) else argument


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
    if isinstance(outcome.error, RLMError):
        raise outcome.error
    raise RunFailed(f"the child ended as {outcome.status} without an answer: {outcome.error!r}") from outcome.error


def _messages(texts: Sequence[str], images: Json, validator: Validator | None) -> list[Message]:
    """The message of each query; `images` has a list of bytes, or None, for each."""
    given = [None] * len(texts) if images is None else images
    if not isinstance(given, list | tuple):
        raise TypeError(f"images must be a list with one list of bytes per prompt, not {type(given).__name__}")
    if len(given) != len(texts):
        raise ValueError(f"{len(texts)} prompts but {len(given)} lists of images")
    tail = "" if validator is None else "\n\n" + prompts.render("output", schema=json.dumps(validator.schema))
    pairs = zip(texts, given, strict=True)
    return [Message(role="user", content=text + tail, images=_images(each)) for text, each in pairs]


def _images(value: Json) -> tuple[Image, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, bytes) for item in value):
        raise TypeError("the images of a prompt must be a list of bytes, each the content of an image file")
    return tuple(map(Image.of, value))


def _by_position(schema: Mapping[str, Json], args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> dict[str, Json]:
    names = list(schema.get("properties", {}))
    if len(args) > len(names):
        raise TypeError(f"at most {len(names)} positional arguments ({', '.join(names)}), got {len(args)}")
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _texts(value: Any, name: str) -> list[str]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list of str, not {type(value).__name__}")
    return [_text(item, f"{name}[{index}]") for index, item in enumerate(value)]


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def _text_or_none(value: Any, name: str) -> str | None:
    return None if value is None else _text(value, name)
