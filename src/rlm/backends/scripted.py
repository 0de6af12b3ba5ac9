"""A backend that answers from a script, for tests of this project and of its users. It reaches no model and no
network, and never makes an answer up: a request beyond the end of the script is an error."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from rlm.backends.estimate import estimate_usage
from rlm.core.exceptions import BadRequestError
from rlm.core.types import Json, ModelReply, ModelRequest, ModelTraits, ToolCall

if TYPE_CHECKING:
    from rlm.backends import BackendSetup

Reply: TypeAlias = "str | ToolCall | ModelReply | Exception | ReplyFunction"
"""A text, a tool call, a whole reply, an exception to raise, or a function of the request that returns one of these."""
ReplyFunction: TypeAlias = Callable[[ModelRequest], "Reply | Awaitable[Reply]"]
Script: TypeAlias = "Sequence[Reply] | ReplyFunction"
"""Replies, used once each, in order; or one function that answers every request."""

_call_ids = itertools.count(1)


def tool_call(name: str, **arguments: Json) -> ToolCall:
    """A tool call with an id of its own, for a script."""
    return ToolCall(id=f"call_{next(_call_ids)}", name=name, arguments=msgspec.json.encode(arguments).decode())


class ScriptedBackend:
    """Answers from a script, or from one script per model name.

    Usage is estimated (three bytes a token, four tokens a message) unless the script gives a `ModelReply`. With
    `cap_usage` every reply uses exactly the request's `max_output_tokens`: the worst case a budget must hold for.
    """

    on_loop = True

    def __init__(
        self,
        script: Script | Mapping[str, Script],
        *,
        latency_s: float = 0.0,
        cap_usage: bool = False,
        traits: ModelTraits | None = None,
    ) -> None:
        scripts = script if isinstance(script, Mapping) else {"*": script}
        self._answers = {model: _answers(each) for model, each in scripts.items()}
        self._latency_s = latency_s
        self._cap_usage = cap_usage
        self._traits = traits or ModelTraits()
        self._in_flight = 0
        self.requests: list[ModelRequest] = []
        """Every request, in the order it came."""
        self.peak_in_flight = 0
        """The most requests that ran at one time."""
        self.closed = False

    def traits(self, model: str) -> ModelTraits:  # noqa: ARG002 - the same for all
        return self._traits

    async def call(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        self._in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
        try:
            answer = self._answer_for(request)
            await asyncio.sleep(self._latency_s)
            return await self._reply(answer, request)
        finally:
            self._in_flight -= 1

    async def aclose(self) -> None:
        self.closed = True

    def _answer_for(self, request: ModelRequest) -> Reply:
        answers = self._answers.get(request.model) or self._answers.get("*")
        if answers is None:
            raise BadRequestError(f"no script for model {request.model!r}; there is one for {', '.join(self._answers)}")
        try:
            return next(answers)
        except StopIteration:
            raise BadRequestError(f"the script of model {request.model!r} has no reply left") from None

    async def _reply(self, answer: Reply, request: ModelRequest) -> ModelReply:
        while callable(answer):
            outcome = answer(request)
            answer = await outcome if inspect.isawaitable(outcome) else outcome
        if isinstance(answer, Exception):
            raise answer
        reply = answer if isinstance(answer, ModelReply) else _from_parts(answer, request)
        if not self._cap_usage:
            return reply
        return replace(reply, usage=replace(reply.usage, output_tokens=request.max_output_tokens))


class ScriptedFiles:
    """Answers calls of model `scripted/<file>` from a JSON file: a list of texts, used once each, in order."""

    def __init__(self) -> None:
        self._backends: dict[str, ScriptedBackend] = {}

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> ScriptedFiles:  # noqa: ARG003 - nothing to set
        return cls()

    def traits(self, model: str) -> ModelTraits:  # noqa: ARG002 - the same for all
        return ModelTraits(native_tools=False)

    async def call(self, request: ModelRequest) -> ModelReply:
        if request.model not in self._backends:
            self._backends[request.model] = ScriptedBackend(read_script(Path(request.model)))
        return await self._backends[request.model].call(request)

    async def aclose(self) -> None:
        self._backends.clear()


def read_script(path: Path) -> list[str]:
    """Read a JSON list of texts.

    Raises:
        BadRequestError: the file doesn't exist, or holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError) as error:
        raise BadRequestError(
            f"model scripted/{path}: {error}. Name a JSON file with a list of replies: scripted/replies.json"
        ) from error


def _answers(script: Script) -> Iterator[Reply]:
    if callable(script):
        return itertools.repeat(script)
    if isinstance(script, str):
        raise TypeError("a script is a list of replies or a function; put the one text into a list")
    return iter(script)


def _from_parts(answer: str | ToolCall, request: ModelRequest) -> ModelReply:
    if isinstance(answer, str):
        return ModelReply(text=answer, usage=estimate_usage(request, answer))
    usage = estimate_usage(request, "", (answer,))
    return ModelReply(text="", tool_calls=(answer,), usage=usage, finish="tool_calls")
