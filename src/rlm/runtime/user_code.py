"""Tools, backends and sinks of users, on threads of their own: one that blocks holds up no run beyond its time."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from rlm.core.foreign import contained, to_its_end
from rlm.core.interfaces import LineSink
from rlm.runtime.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rlm.core.events import Event
    from rlm.core.interfaces import Backend, Sink, Tool
    from rlm.core.types import Json, ModelReply, ModelRequest, ModelTraits, ToolSpec

T = TypeVar("T")

WAITING_EVENTS = 10_000
"""How many events a sink may be behind."""
PATIENCE_S = 0.5
"""How long a run waits for a sink, in seconds: to take one event where it is that far behind, and all at its end."""


class CallThread:
    """An event loop for what users give one RLM. Once something blocks it another takes its place, unless it is
    `lasting`: what runs there may have connections that are bound to it.
    """

    def __init__(self, *, lasting: bool = False) -> None:
        self._lasting = lasting
        self._thread = LoopThread()
        self._responded: threading.Event | None = None
        """Set by a thread that isn't blocked, after a call was left behind in it."""

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call()` comes to there.

        Raises:
            asyncio.CancelledError: as `to_its_end`.
        """
        if self._is_blocked and not self._lasting:
            self._thread, self._responded = LoopThread(), None
        thread, came_to = self._thread, Future[T]()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            if came_to.set_running_or_notify_cancel():
                tasks.append(asyncio.ensure_future(contained(call)))
                tasks[0].add_done_callback(partial(_pass_on, came_to))

        thread.begin(begin)
        try:
            stop = partial(thread.call_soon, lambda: [task.cancel() for task in tasks])
            return await to_its_end(asyncio.wrap_future(came_to), stop)
        except asyncio.CancelledError:
            self._responded = threading.Event()
            thread.call_soon(self._responded.set)
            raise

    def close(self) -> None:
        """End the thread, or leave it behind if it is blocked; idempotent."""
        if not self._is_blocked:
            self._thread.stop()

    @property
    def _is_blocked(self) -> bool:
        return self._responded is not None and not self._responded.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTool:
    """Implements `Tool` over one of the user's, which runs on the event loop of another thread."""

    tool: Tool
    thread: CallThread = field(repr=False)

    @property
    def spec(self) -> ToolSpec:
        return self.tool.spec

    @property
    def reads_only(self) -> bool:
        return self.tool.reads_only

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Have the user's tool answer; see `Tool.call`."""
        return await self.thread.run(lambda: self.tool.call(arguments))


@dataclass(frozen=True, slots=True, kw_only=True)
class UserBackend:
    """Implements `Backend` over one of the user's, which runs on the event loop of another thread."""

    backend: Backend
    thread: CallThread = field(repr=False)

    def traits(self, model: str) -> ModelTraits:
        return self.backend.traits(model)

    async def call(self, request: ModelRequest) -> ModelReply:
        """Have the user's backend answer; see `Backend.call`."""
        return await self.thread.run(lambda: self.backend.call(request))

    async def aclose(self) -> None:
        """The user's own stays open."""


_Item: TypeAlias = "Callable[[], None] | threading.Event | None"
"""Passes on one event; or is set once all before it are passed on; or ends the thread."""


class UserSink:
    """Implements `BufferedSink` over a sink of the user's, which a thread of its own feeds in order."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: queue.Queue[_Item] = queue.Queue(WAITING_EVENTS)
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def name(self) -> str:
        """The name of the user's class."""
        return type(self._sink).__name__

    def write(self, event: Event) -> None:
        self._pass_on(lambda: self._sink.write(event))

    def flush(self) -> None:
        """Wait until the sink has taken all events; what follows begins anew.

        Raises:
            BaseException: it failed at one of them.
            TimeoutError: it took too long.
        """
        if self._thread is None:
            return
        taken = threading.Event()
        self._put(taken)
        if not taken.wait(PATIENCE_S):
            self._failure = TimeoutError(f"it took longer than {PATIENCE_S:g} s")
            raise self._failure
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the sink, once it has taken all events; leave it behind if it is blocked.

        Raises:
            BaseException: it failed at that.
        """
        thread = self._thread
        if thread is None:
            self._sink.close()
            return
        with suppress(TimeoutError):
            self._put(None)
            thread.join(PATIENCE_S)
        if self._failure is not None and not thread.is_alive():
            raise self._failure

    def _pass_on(self, job: Callable[[], None]) -> None:
        if self._failure is not None:
            raise self._failure
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"rlm-sink-{self.name}", daemon=True)
            self._thread.start()
        self._put(job)

    def _put(self, item: _Item) -> None:
        try:
            self._waiting.put(item, timeout=PATIENCE_S)
        except queue.Full:
            self._failure = TimeoutError(f"it is {WAITING_EVENTS:,} events behind")
            raise self._failure from None

    def _work(self) -> None:
        """Pass on what waits, but nothing after a failure until the run has heard of it; then close the sink."""
        while (item := self._waiting.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            elif self._failure is None:
                self._have(item)
        self._have(self._sink.close)

    def _have(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised to the run by the next event
            self._failure = error


class UserLineSink(UserSink):
    """The same over a `LineSink`."""

    def __init__(self, sink: LineSink) -> None:
        super().__init__(sink)
        self._line_sink = sink

    def write_encoded(self, line: bytes) -> None:
        self._pass_on(lambda: self._line_sink.write_encoded(line))


def threaded(sink: Sink) -> Sink:
    """`sink` on a thread of its own, unless it says that it may be called on the event loop."""
    if getattr(sink, "on_loop", False):
        return sink
    return UserLineSink(sink) if isinstance(sink, LineSink) else UserSink(sink)


def _pass_on(came_to: Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        came_to.set_exception(asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        came_to.set_exception(error)
    else:
        came_to.set_result(task.result())
