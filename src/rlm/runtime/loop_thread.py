"""The event-loop thread of one RLM, started at first use: it lets pools and connections live across calls, and lets
synchronous callers work anywhere, even in a notebook."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")
_SLICE_S = 0.5


class LoopThread:
    """An event loop in a daemon thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` on the loop, which is started if need be."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._started())

    def call_soon(self, function: Any) -> None:
        """Call `function()` on the loop if it runs; from any thread or signal handler."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(function)

    @property
    def running(self) -> bool:
        return self._loop is not None

    def stop(self) -> None:
        """Cancel what is left, end the loop and its thread; idempotent, not from the loop itself."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                ready = threading.Event()
                self._loop = loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(loop, ready), name="rlm-loop", daemon=True)
                self._thread.start()
                ready.wait()
            return self._loop


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
    """Cancel the tasks that are left and close the loop, as `asyncio.run` does."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
