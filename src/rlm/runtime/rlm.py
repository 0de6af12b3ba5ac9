"""The composition root as users see it: a configuration and an event loop in front of the wired parts."""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from rlm.core.config import Config, checked
from rlm.core.exceptions import ConfigError, RunFailed
from rlm.runtime.interactive import Interactive, replay_cells
from rlm.runtime.loop_thread import LoopThread, waited
from rlm.runtime.models import BackendPool
from rlm.runtime.open_repl import OpenRepl
from rlm.runtime.request import Request
from rlm.runtime.resume import Fork, replay_request, resume_request
from rlm.runtime.runs import complete, replay
from rlm.runtime.user_code import CallThread, UserBackend, UserTool, threaded
from rlm.runtime.wiring import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from pathlib import Path
    from typing import NoReturn, Unpack

    from rlm.core.budget import Budget
    from rlm.core.interfaces import Backend, Sink, Tool
    from rlm.core.outcome import RLMResult
    from rlm.core.replay.serving import ReplayReport
    from rlm.runtime.forecast import Forecast
    from rlm.runtime.images import GivenImages
    from rlm.runtime.resume import Again, How


T = TypeVar("T")


class RLM:
    """A recursive language model: answers prompts over data of any size.

    Cheap to construct: the event loop, the sandbox and connections start at first use and live until `close`. It
    may be used from several threads at once, but in one process: a fork of it may use an RLM that was not used before.
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
        """`model` is a name, or a backend that serves every name; `config` is by default what `Config.load()` finds.
        `sinks` get the events of every run; they are closed by `close`.

        Raises:
            ConfigError: a configuration file or variable is wrong.
        """
        given = None if model is None or isinstance(model, str) else model
        self._warnings: tuple[str, ...] = ()
        if config is None:
            loaded = Config.load()
            config, self._warnings = loaded.config, loaded.warnings
        base = config
        self.config = _changed(base, model=_label(model, base), environment=environment, budget=budget)
        self._loop = LoopThread()
        threads = (CallThread(), CallThread(lasting=True))
        if given is not None and not getattr(given, "on_loop", False):
            given = UserBackend(backend=given, thread=threads[1])
        on_thread = tuple(UserTool(tool=each, thread=threads[0]) for each in _checked_tools(tools))
        self._parts = Parts(backends=BackendPool(given), tools=on_thread, sinks=tuple(map(threaded, sinks)))
        self._opened: set[Interactive] = set()
        self._finalizer = weakref.finalize(self, _close, self._loop, self._parts, self._opened, threads)

    @overload
    def completion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: type[T],
        budget: Budget | None = None,
        images: GivenImages = (),
        session: str | None = None,
    ) -> RLMResult[T]: ...

    @overload
    def completion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: Any = None,
        budget: Budget | None = None,
        images: GivenImages = (),
        session: str | None = None,
    ) -> RLMResult: ...

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
        model sees beside the prompt, each as bytes, a Path or an `Image`; code in the REPL can't see them.
        `session`: the name of a session; the REPL begins with its variables and leaves its own there. Raises:
            ConfigError: what was asked for is not possible as asked; nothing was called.
            AuthenticationError: there is no model to call.
            RecordError: no trajectory can be written.
        """
        request = self._request(prompt, context, output_type, images, budget=budget, session=session)
        return self._waited(complete(self._parts, request))

    @overload
    async def acompletion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: type[T],
        budget: Budget | None = None,
        images: GivenImages = (),
        session: str | None = None,
    ) -> RLMResult[T]: ...

    @overload
    async def acompletion(
        self,
        prompt: str,
        context: Any = None,
        *,
        output_type: Any = None,
        budget: Budget | None = None,
        images: GivenImages = (),
        session: str | None = None,
    ) -> RLMResult: ...

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
        return await self.complete(self._request(prompt, context, output_type, images, budget=budget, session=session))

    async def complete(self, request: Request) -> RLMResult:
        """`acompletion` of a request as one value, under the settings that it names itself."""
        self._refuse_if_closed()
        return await self._awaited(complete(self._parts, request))

    async def forecast(self, request: Request) -> Forecast:
        """What a request would send and may cost: it is read and checked as for `complete`, and no model is called.

        Raises:
            RLMError: as `completion`.
        """
        from rlm.runtime.forecast import forecast  # it opens the index of records, which no run needs

        self._refuse_if_closed()
        return await self._awaited(forecast(self._parts, request))

    def resume(self, run: str | Path, **how: Unpack[How]) -> RLMResult:
        """Go on with a run that was cut off, failed or reached a limit; what its record has is not paid for again.

        `run` is an id, the beginning of one, `last`, or the path of a record. It becomes a new run with a record
        of its own. Raises:
            ConfigError: there is nothing to resume, or it can't be done as asked; says what is missing.
        """
        return self._waited(self._taken_up(lambda: resume_request(run, self.config, **how)))

    async def aresume(self, run: str | Path, **how: Unpack[How]) -> RLMResult:
        """`resume`, awaited on any event loop; cancelling it cancels the run."""
        return await self._awaited(self._taken_up(lambda: resume_request(run, self.config, **how)))

    def fork(self, run: str | Path, turn: int | None = None, addition: str = "", **how: Unpack[How]) -> RLMResult:
        """Go another way from the end of a turn of a run, or go on after its last: live from there, with what the user
        adds. `rlm.fork("last", addition="And by month?")` asks another question after the answer.

        Raises:
            ConfigError: as `resume`, or there is no such turn.
        """
        fork = Fork(turn=turn, addition=addition)
        return self._waited(self._taken_up(lambda: resume_request(run, self.config, fork, **how)))

    async def afork(
        self, run: str | Path, turn: int | None = None, addition: str = "", **how: Unpack[How]
    ) -> RLMResult:
        """`fork`, awaited on any event loop; cancelling it cancels the run."""
        fork = Fork(turn=turn, addition=addition)
        return await self._awaited(self._taken_up(lambda: resume_request(run, self.config, fork, **how)))

    def replay(self, run: str | Path, **again: Unpack[Again]) -> ReplayReport:
        """Run the cells of a record once more, at no cost and on no new record, and report what comes out differently.

        Raises:
            ConfigError: there is no such run, or its context is not here.
        """
        return self._waited(self._replayed(lambda: replay_request(run, self.config, **again)))

    async def areplay(self, run: str | Path, **again: Unpack[Again]) -> ReplayReport:
        """`replay`, awaited on any event loop."""
        return await self._awaited(self._replayed(lambda: replay_request(run, self.config, **again)))

    async def _taken_up(self, read: Callable[[], Request]) -> RLMResult:
        self._refuse_if_closed()
        return await complete(self._parts, await asyncio.to_thread(read))

    async def _replayed(self, read: Callable[[], Request]) -> ReplayReport:
        self._refuse_if_closed()
        request = await asyncio.to_thread(read)
        return await (replay_cells if request.is_interactive else replay)(self._parts, request)

    async def _awaited(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the loop of this RLM from any other."""
        return await asyncio.wrap_future(self._loop.submit(work))

    def _waited(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the loop; Ctrl-C makes it land first."""
        pending = self._loop.submit(work)
        try:
            return waited(pending)
        except CancelledError:
            raise RunFailed("it was cancelled, or this RLM was closed, before it was open") from None
        except KeyboardInterrupt:
            self.cancel()
            waited(pending)
            raise

    def open_repl(self, context: Any = None, *, session: str | None = None) -> OpenRepl:
        """Open a REPL whose cells come from Python, not from a model, with all that a run offers; recorded.

        Without a model, everything but sub-calls works. Raises:
            ConfigError: what was asked for is not possible as asked.
            SandboxUnavailableError: the sandbox can't run here.
            RunFailed: it was cancelled, or the RLM was closed, before the REPL was open.
            RecordError, StoreError: the record can't be written, the session can't be had.
        """
        self._refuse_if_closed()
        config = _changed(self.config, session=session)
        return OpenRepl(self, self._loop, self._waited(self._open(config, context)))

    async def _open(self, config: Config, context: Any) -> Interactive:
        with self._parts.in_progress():
            opened = await Interactive.open(self._parts, config, context)
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

    def __reduce__(self) -> NoReturn:
        raise TypeError("an RLM can't be sent to another process: make one there")

    def _request(self, prompt: str, context: Any, output_type: Any, images: GivenImages, **changes: Any) -> Request:
        self._refuse_if_closed()
        config = _changed(self.config, **changes)
        return Request(
            prompt=prompt,
            context=context,
            output_type=output_type,
            config=config,
            images=tuple(images),
            warnings=self._warnings,
        )

    def _refuse_if_closed(self) -> None:
        if not self._finalizer.alive:
            raise ConfigError("this RLM is closed: make another")


def _label(model: str | Backend | None, base: Config) -> str | None:
    if model is None or isinstance(model, str):
        return model
    return base.model or type(model).__name__.removesuffix("Backend").lower()


def _checked_tools(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    found = tuple(tools)
    for each in found:
        if not hasattr(each, "spec"):
            raise ConfigError(f"{each!r} is not a tool: decorate the function with @tool (from rlm import tool)")
    return found


def _changed(config: Config, **changes: Any) -> Config:
    """`config` with every change that isn't None, held to the ranges of its fields.

    Raises:
        ConfigError: a value has the wrong type or is out of range; says which.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return checked(msgspec.structs.replace(config, **given))
    except TypeError as error:
        raise ConfigError(f"a setting is wrong: {error}") from error


def _close(loop: LoopThread, parts: Parts, opened: set[Interactive], threads: tuple[CallThread, ...]) -> None:
    """Close all that there is, unless it belongs to the process that this one is a fork of."""
    if loop.running:
        try:
            for each in opened:  # their sessions are saved while the sandboxes live
                loop.submit(each.aclose()).result()
            loop.submit(parts.aclose()).result()
        finally:
            loop.stop()
            for thread in threads:
                thread.close()
    elif loop.is_here:
        for sink in parts.sinks:
            sink.close()
