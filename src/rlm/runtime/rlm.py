"""The composition root as users see it: a configuration and an event loop in front of the wired parts."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import msgspec

from rlm.core.config import Config
from rlm.core.exceptions import ConfigError
from rlm.runtime.inputs import prepare
from rlm.runtime.interactive import Interactive
from rlm.runtime.loop_thread import LoopThread
from rlm.runtime.models import BackendPool, RunModels
from rlm.runtime.resume import Again, request_of
from rlm.runtime.wiring import Parts, Request

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping
    from concurrent.futures import Future
    from pathlib import Path
    from typing import Unpack

    from rlm.core.budget import Budget
    from rlm.core.interfaces import Backend, Sink, Tool
    from rlm.core.replay.serving import OnDivergence, ReplayReport
    from rlm.core.types import ExecResult, RLMResult
    from rlm.runtime.inputs import GivenImages
    from rlm.sessions.store import Revision


T = TypeVar("T")
_SLICE_S = 0.5


class How(TypedDict, total=False):
    """How a run is resumed or forked."""

    context: Any
    """Where it was no file and isn't kept."""
    output_type: Any
    overrides: Mapping[str, Any]
    """Settings by name, such as `token_budget`, that take the place of those of the run."""
    on_divergence: OnDivergence
    """stop (the default) or continue, where cells do something else than the record says."""
    redo_unfinished: bool
    """Call tools again that may change things and were called but never answered."""


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
        self._opened: set[Interactive] = set()
        self._finalizer = weakref.finalize(self, _close, self._loop, self._parts, self._opened)

    def completion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: Any = None,
        budget: Budget | None = None,
        images: GivenImages = (),
        session: str | None = None,
    ) -> RLMResult:
        """Answer `prompt` over `context`; blocks until there is an answer, a limit or a failure.

        `context`: str, list, dict, a Path (file, folder or glob), a list of Paths, an open file, or None.
        `output_type`: a pydantic model, a dataclass or another type, or a JSON schema as dict. `images`: what the
        model sees beside the prompt, each as bytes, a Path or an `Image`; code in the REPL doesn't have them.
        `session`: the name of one, whose variables the REPL begins with and leaves behind. Raises:
            ConfigError: what was asked for is not possible as asked; nothing was called.
            AuthenticationError: there is no model to call.
            RecordError: no trajectory can be written.
        """
        request = self._request(prompt, context, output_type, images, budget=budget, session=session)
        return self._waited(self._parts.complete(request))

    async def acompletion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: Any = None,
        budget: Budget | None = None,
        images: GivenImages = (),
        session: str | None = None,
    ) -> RLMResult:
        """`completion`, awaited on any event loop; cancelling it cancels the run."""
        request = self._request(prompt, context, output_type, images, budget=budget, session=session)
        return await asyncio.wrap_future(self._loop.submit(self._parts.complete(request)))

    def resume(self, run: str | Path, **how: Unpack[How]) -> RLMResult:
        """Go on with a run that was cut off, failed or reached a limit; what its record has is not paid for again.

        `run` is an id, the beginning of one, `last`, or the path of a record. It becomes a new run with a record
        of its own. Raises:
            ConfigError: there is nothing to resume, or it can't be done as asked; says what is missing.
        """
        return self._waited(self._again(Again(run=run, **how)))

    def fork(self, run: str | Path, turn: int, addition: str = "", **how: Unpack[How]) -> RLMResult:
        """Go another way from the end of a turn of a run: live from there, with what the user adds.

        Raises:
            ConfigError: as `resume`, or there is no such turn.
        """
        return self._waited(self._again(Again(run=run, turn=turn, addition=addition, **how)))

    def replay(self, run: str | Path, context: Any = None, environment: str | None = None) -> ReplayReport:
        """Run the cells of a record once more, at no cost and on no new record, and report what comes out otherwise.

        Raises:
            ConfigError: there is no such run, or its context is not here.
        """
        overrides = {} if environment is None else {"environment": environment}
        again = Again(run=run, context=context, overrides=overrides, on_divergence="report")
        return self._waited(self._replayed(again))

    async def aresume(self, again: Again) -> RLMResult:
        """`resume` or `fork`, awaited on any event loop; cancelling it cancels the run."""
        return await asyncio.wrap_future(self._loop.submit(self._again(again)))

    async def areplay(self, again: Again) -> ReplayReport:
        """`replay`, awaited on any event loop."""
        return await asyncio.wrap_future(self._loop.submit(self._replayed(again)))

    async def _again(self, again: Again) -> RLMResult:
        self._refuse_if_closed()
        return await self._parts.complete(await asyncio.to_thread(request_of, again, self.config))

    async def _replayed(self, again: Again) -> ReplayReport:
        self._refuse_if_closed()
        request = await asyncio.to_thread(request_of, again, self.config)
        return await self._parts.replay(request)

    def _waited(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the loop; Ctrl-C makes it land first."""
        pending = self._loop.submit(work)
        try:
            return _awaited(pending)
        except KeyboardInterrupt:
            self.cancel()
            _awaited(pending)
            raise

    def open_repl(self, context: Any = None, *, session: str | None = None) -> OpenRepl:
        """Open a REPL whose cells come from Python instead of a model, with all that code in a run has, recorded.

        Without a model that is set or there, all but sub-calls works. Raises:
            ConfigError: what was asked for is not possible as asked.
            SandboxUnavailableError: the sandbox can't run here.
            RecordError, StoreError: the record can't be written, the session can't be had.
        """
        self._refuse_if_closed()
        config = _changed(self.config, session=session)
        return OpenRepl(self, self._loop, self._waited(self._open(config, context)))

    async def _open(self, config: Config, context: Any) -> Interactive:
        models = RunModels.choose_or_nobody(config, self._parts.backends)
        given = await asyncio.to_thread(prepare, context)
        opened = await Interactive.open(self._parts, config, models, given)
        self._opened.add(opened)
        return opened

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

    def _request(self, prompt: str, context: Any, output_type: Any, images: GivenImages, **changes: Any) -> Request:
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError("the prompt is empty: say what is to be done")
        self._refuse_if_closed()
        config = _changed(self.config, **changes)
        return Request(prompt=prompt, context=context, output_type=output_type, config=config, images=tuple(images))

    def _refuse_if_closed(self) -> None:
        if not self._finalizer.alive:
            raise ConfigError("this RLM is closed: make another")


class OpenRepl:
    """A REPL that is open; may be used from any thread, one cell at a time. Close it, or use it in a `with`."""

    def __init__(self, rlm: RLM, loop: LoopThread, interactive: Interactive) -> None:
        self._rlm = rlm  # one that nobody holds closes its REPLs
        self._loop = loop
        self._interactive = interactive

    @property
    def path(self) -> Path:
        """Of the record."""
        return self._interactive.path

    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        """Run one cell; Ctrl-C stops it and keeps the variables.

        An error in the code is in the result. Raises:
            REPLError: the sandbox failed, or the REPL is closed.
            RecordError: the record can't be written, so nothing may run.
        """
        pending = self._loop.submit(self._interactive.execute(code, timeout_s))
        try:
            return _awaited(pending)
        except KeyboardInterrupt:
            self._loop.call_soon(lambda: self._interactive.interrupt("interrupted by the user"))
            _awaited(pending)
            raise

    def save(self) -> Revision:
        """Keep the variables as the next state of the session. Raises:
        REPLError: there is no session, or the sandbox does not give its variables out.
        StoreError: they can't be kept; the state before is unharmed.
        """
        return _awaited(self._loop.submit(self._interactive.save()))

    def close(self) -> None:
        """Save the session, if it has one and cells have run, and end the REPL; idempotent."""
        _awaited(self._loop.submit(self._interactive.aclose()))

    def __enter__(self) -> OpenRepl:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _awaited(pending: Future[T]) -> T:
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


def _close(loop: LoopThread, parts: Parts, opened: set[Interactive]) -> None:
    if loop.running:
        for each in opened:  # their sessions are saved while the sandboxes live
            loop.submit(each.aclose()).result()
        loop.submit(parts.aclose()).result()
        loop.stop()
