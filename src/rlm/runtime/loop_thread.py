"""The event-loop thread of one RLM, started at first use: it lets pools and connections live across calls, and lets
synchronous callers work anywhere, even in a notebook."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")
_SLICE_S = 0.5
_STOP_S = 0.5
"""How long tasks may take to end once they are cancelled, in seconds."""


class LoopThread:
    """An event loop in a daemon thread of its own, which a fork of the process doesn't have."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` on the loop, which is started if need be.

        Raises:
            ConfigError: the loop was started in the process that this one is a fork of.
        """
        try:
            loop = self._started()
        except ConfigError:
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def begin(self, function: Callable[[], object]) -> None:
        """Call `function()` on the loop, which is started if need be. Raises as `submit`."""
        self._started().call_soon_threadsafe(function)

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call `function()` on the loop if it runs; from any thread or signal handler."""
        loop = self._loop
        if loop is not None and self.is_here:
            loop.call_soon_threadsafe(function)

    @property
    def running(self) -> bool:
        """Whether the loop was started, in this process."""
        return self._loop is not None and self.is_here

    @property
    def is_here(self) -> bool:
        """Whether the loop is, or would be, one of this process."""
        return self._pid == os.getpid()

    def stop(self) -> None:
        """Cancel what is left, end the loop and its thread; idempotent, not from the loop itself."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(2 * _STOP_S)

    def _started(self) -> asyncio.AbstractEventLoop:
        self._follow_fork()
        with self._lock:
            if self._loop is None:
                ready = threading.Event()
                self._loop = loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(loop, ready), name="rlm-loop", daemon=True)
                self._thread.start()
                ready.wait()
            return self._loop

    def _follow_fork(self) -> None:
        """In a fork of the process, begin anew if nothing was begun before."""
        pid = os.getpid()
        if pid == self._pid:
            return
        if self._loop is not None:
            raise ConfigError(
                f"this RLM was used in process {self._pid} before {pid} was forked from it, and works there alone\n"
                "make an RLM in each process after the fork, or use none before it"
            )
        self._pid, self._lock = pid, threading.Lock()  # another thread may have held the old one


def waited(pending: Future[T]) -> T:
    """The result of work on another thread, waited for in slices: a signal that the kernel gives to another thread
    doesn't wake a wait without end.
    """
    while True:
        try:
            return pending.result(_SLICE_S)
        except TimeoutError:
            if pending.done():
                return pending.result()


def _serve(loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    loop.call_soon(ready.set)
    try:
        loop.run_forever()
    finally:
        _drain(loop)


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that are left and close the loop, as `asyncio.run` does, but wait for no task in vain, and for
    no thread: a function of the user's may never end.
    """
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=_STOP_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.set_exception_handler(lambda _loop, _context: None)  # that a task never ended is known by now
    loop.close()
