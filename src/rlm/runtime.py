"""The composition root as users see it: a configuration and an event loop in front of the wired parts."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.config import Config
from rlm.core.exceptions import ConfigError
from rlm.loop import LoopThread
from rlm.models import BackendPool
from rlm.parts import Parts, Request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from rlm.core.budget import Budget
    from rlm.core.interfaces import Backend, Sink, Tool
    from rlm.core.types import RLMResult
    from rlm.inputs import GivenImages


_SLICE_S = 0.5


class RLM:
    """A recursive language model: answers prompts over data of any size.

    Cheap to construct: the event loop, the sandbox and connections start at first use and live until `close`. May be
    used from several threads at once.
    """

    def __init__(
        self,
        model: str | Backend | None = None,
        *,
        environment: str | None = None,
        budget: Budget | None = None,
        tools: Iterable[Tool] = (),
        config: Config | None = None,
        sinks: Iterable[Sink] = (),
    ) -> None:
        """`model` is a name, or a backend that serves every name; without `config`, `Config.load()` reads it.

        Raises:
            ConfigError: a configuration file or variable is wrong.
        """
        given = None if model is None or isinstance(model, str) else model
        base = Config.load().config if config is None else config
        self.config = _changed(base, model=_label(model, base), environment=environment, budget=budget)
        self._loop = LoopThread()
        self._parts = Parts(backends=BackendPool(given), tools=_checked_tools(tools), sinks=tuple(sinks))
        self._finalizer = weakref.finalize(self, _close, self._loop, self._parts)

    def completion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: Any = None,
        budget: Budget | None = None,
        images: GivenImages = (),
    ) -> RLMResult:
        """Answer `prompt` over `context`; blocks until there is an answer, a limit or a failure.

        `context`: str, list, dict, a Path (file, folder or glob), a list of Paths, an open file, or None.
        `output_type`: a pydantic model, a dataclass or another type, or a JSON schema as dict. `images`: what the
        model sees beside the prompt, each as bytes, a Path or an `Image`; code in the REPL doesn't have them. Raises:
            ConfigError: what was asked for is not possible as asked; nothing was called.
            AuthenticationError: there is no model to call.
            RecordError: no trajectory can be written.
        """
        request = self._request(prompt, context, output_type, budget, images)
        pending = self._loop.submit(self._parts.complete(request))
        try:
            return _awaited(pending)
        except KeyboardInterrupt:
            self.cancel()
            _awaited(pending)
            raise

    async def acompletion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: Any = None,
        budget: Budget | None = None,
        images: GivenImages = (),
    ) -> RLMResult:
        """`completion`, awaited on any event loop; cancelling it cancels the run."""
        request = self._request(prompt, context, output_type, budget, images)
        return await asyncio.wrap_future(self._loop.submit(self._parts.complete(request)))

    def cancel(self) -> None:
        """End every completion in progress with status `cancelled`; from any thread or signal handler."""
        self._loop.call_soon(self._parts.cancel)

    def close(self) -> None:
        """End sandboxes, connections and the event loop; idempotent."""
        self._finalizer()

    async def __aenter__(self) -> RLM:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await asyncio.to_thread(self.close)

    def __enter__(self) -> RLM:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _request(
        self, prompt: str, context: Any, output_type: Any, budget: Budget | None, images: GivenImages
    ) -> Request:
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError("the prompt is empty: say what is to be done")
        if not self._finalizer.alive:
            raise ConfigError("this RLM is closed: make another")
        config = _changed(self.config, budget=budget)
        return Request(prompt=prompt, context=context, output_type=output_type, config=config, images=tuple(images))


def _awaited(pending: Future[RLMResult]) -> RLMResult:
    """Wait in slices: a signal that the kernel gives to another thread doesn't wake a wait without end."""
    while True:
        try:
            return pending.result(_SLICE_S)
        except TimeoutError:
            if pending.done():
                return pending.result()


def _label(model: str | Backend | None, base: Config) -> str | None:
    if model is None or isinstance(model, str):
        return model
    return base.model or type(model).__name__.removesuffix("Backend").lower()


def _checked_tools(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    found = tuple(tools)
    for each in found:
        if not hasattr(each, "spec"):
            raise ConfigError(f"{each!r} is no tool: decorate the function with @tool (from rlm import tool)")
    return found


def _changed(config: Config, **changes: Any) -> Config:
    """`config` with every change that isn't None, held to the ranges of its fields.

    Raises:
        ConfigError: a value has the wrong type or is out of range; says which.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return msgspec.convert(msgspec.to_builtins(msgspec.structs.replace(config, **given)), Config)
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(f"a setting is wrong: {error}") from error


def _close(loop: LoopThread, parts: Parts) -> None:
    if loop.running:
        loop.submit(parts.aclose()).result()
        loop.stop()
