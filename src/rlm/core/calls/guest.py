"""The functions that guest code calls: llm_query, rlm_query, their batched forms, save_artifact, and the guest tools.

Every call is charged to the completion's ledger before it starts. A failed item of a batch is an exception in the list;
the wire makes an error value of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeAlias

from rlm.core.budget import CallEstimate, estimate_message
from rlm.core.calls import arguments
from rlm.core.calls.batches import answer_all
from rlm.core.calls.queries import ChildQuery, Query
from rlm.core.calls.tools import call_tool, find_tool
from rlm.core.contexts.citations import cite
from rlm.core.contexts.context import Context
from rlm.core.events import ArtifactSaved
from rlm.core.exceptions import ToolNotFoundError
from rlm.core.off_loop import in_turns, off_loop, off_loop_if_large
from rlm.core.types import Json

if TYPE_CHECKING:
    from rlm.core.interfaces import Validator
    from rlm.core.replay.scope import Scope
    from rlm.core.run import Complete, Model, Run, Task
    from rlm.core.types import Citation, Message

MAX_SCHEMA_VALUES = 1_000
"""Checking a schema may take time that grows with the square of its size."""

_TAKE_CONTEXT = frozenset({"rlm_query", "rlm_query_batched"})
"""Functions to which the wire's form of a large `context` means the context itself, not its text."""

GuestFunction: TypeAlias = Callable[..., Awaitable[Json]]


class SubCalls:
    """The functions bound into the REPL of one completion."""

    def __init__(self, run: Run, task: Task, complete: Complete, here: Callable[[], Scope]) -> None:
        """`here` gives the cell that is running."""
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
            "cite": self._cite,
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
            return await call_tool(self._run, self._here(), name, named, caller="guest")
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
        messages: Iterable[Message] = arguments.messages(arguments.prompts(prompts), images, validator)
        if found.traits.by_hand:
            messages = list(messages)
            tokens = {message.content: estimate_message(message) for message in messages}
            self._check_covered(found, len(messages), tokens)
        queries = [await self._query(message, found, validator) async for message in in_turns(messages)]
        return await answer_all(self._here(), queries, self._task.clock)

    def _check_covered(self, model: Model, count: int, tokens: Mapping[str, int]) -> None:
        """Refuse a batch as a whole where its answers would be lost work; `tokens` are those of each prompt.

        Raises:
            LimitReached: the budget can't cover it.
        """
        output_tokens = self._run.config.max_output_tokens
        total = CallEstimate(input_tokens=sum(tokens.values()), max_output_tokens=output_tokens, price=model.price)
        self._here().ledger.check_covers(count, total)

    async def _query(self, message: Message, model: Model, validator: Validator | None) -> Query:
        scope = self._here()
        key = await scope.key("llm_query", model.label, message.content, [image.digest for image in message.images])
        return Query(run=self._run, scope=scope, key=key, message=message, model=model, validator=validator)

    async def _validator(self, schema: Json) -> Validator | None:
        """The validator of a schema that guest code made up, of bounded size."""
        if arguments.values(schema, MAX_SCHEMA_VALUES) > MAX_SCHEMA_VALUES:
            raise ValueError(f"output_type has more than {MAX_SCHEMA_VALUES} values; give a smaller schema")
        return await self._run.validator_for(schema)

    async def _rlm_query(self, prompt: str, context: Json = None) -> Json:
        (answer,) = await self._rlm_query_batched([prompt], [context])
        return _raise_failed(answer)

    async def _rlm_query_batched(self, prompts: Sequence[str], contexts: Sequence[Json] | None = None) -> list[Json]:
        texts = arguments.prompts(prompts)
        given = [None] * len(texts) if contexts is None else list(contexts)
        if len(given) != len(texts):
            raise ValueError(f"{len(texts)} prompts but {len(given)} contexts")
        if (found := self._run.find_model(None)).traits.by_hand:
            self._check_covered(found, len(texts), {})
        children = [await self._child(*pair) async for pair in in_turns(zip(texts, given, strict=True))]
        return await answer_all(self._here(), children, self._task.clock)

    async def _child(self, prompt: str, given: Json) -> ChildQuery:
        scope = self._here()
        key = await scope.key("rlm_query", prompt, given.digest if isinstance(given, Context) else given)
        return ChildQuery(
            run=self._run, parent=self._task, complete=self._complete, scope=scope, key=key, prompt=prompt, given=given
        )

    async def _cite(self, quote: str) -> Json:
        found = await off_loop(cite, self._task.context, arguments.text(quote, "quote"))
        return _as_answer(found)

    async def _save_artifact(self, name: str, data: str | bytes) -> Json:
        if not isinstance(data, str | bytes):
            raise TypeError(f"data must be str or bytes, not {type(data).__name__}")
        content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        scope = self._here()
        key = await scope.key("artifact", arguments.text(name, "name"), content)
        digest = (await off_loop_if_large(hashlib.sha256, content)).hexdigest()
        known = scope.artifact(key)
        saved = self._run.save_artifact(known or name, content)
        note = ArtifactSaved(name=known or saved, size_bytes=len(content), digest=digest, key=key)
        self._run.recorder.record(scope.span, note)
        return known or saved


def _as_answer(citation: Citation) -> dict[str, Json]:
    """A citation as cells see it, without what isn't known."""
    return {name: value for name, value in asdict(citation).items() if value not in (None, "", 0.0)}


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
