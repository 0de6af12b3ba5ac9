"""Runs code that isn't the project's own, such as tools, backends and sinks of users: whatever it raises is an error of
that call alone, and what doesn't end when it is cancelled is left behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")

GRACE_S = 0.2
"""How long a call may take to end once it is cancelled, in seconds."""


class Escaped(Exception):
    """Code raised what would end more than its call, such as SystemExit; the text is its class and its message."""

    @classmethod
    def of(cls, error: BaseException) -> Escaped:
        """The error that stands for `error`."""
        said = str(error)
        return cls(type(error).__name__ + (f": {said}" if said else ""))


async def outcome_of(call: Callable[[], Awaitable[T]], on_left: Callable[[], None] = lambda: None) -> T:
    """What `call()` comes to, awaited as a task of its own; an exception is raised as it is.

    `on_left` is called where the call goes on though it was cancelled. Raises:
        Escaped: it raised CancelledError by itself, or what isn't an `Exception`.
        asyncio.CancelledError: the caller was cancelled, whatever the call made of that.
    """
    ended = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(contained(call))
    task.add_done_callback(partial(_note_end, ended))
    try:
        await ended
    except asyncio.CancelledError:
        task.cancel()
        try:
            await asyncio.wait([task], timeout=GRACE_S)
        finally:
            if not task.done():
                task.cancel()  # see `to_its_end`
                on_left()
        raise
    if task.cancelled():
        raise Escaped(asyncio.CancelledError.__name__)
    error = task.exception()
    if error is not None and not isinstance(error, Exception):
        raise Escaped.of(error) from error
    return task.result()


async def in_thread(function: Callable[[], T]) -> T:
    """What `function()` returns, run in a thread that neither a close nor the end of the process waits for.

    Raises:
        asyncio.CancelledError: as `to_its_end`; nothing can stop a thread.
    """
    run = partial(copy_context().run, _without_stop, function)
    return await to_its_end(asyncio.get_running_loop().run_in_executor(_THREADS, run))


async def to_its_end(future: asyncio.Future[T], stop: Callable[[], object] = lambda: None) -> T:
    """What `future` comes to.

    Raises:
        asyncio.CancelledError: the caller was cancelled: once it is told to `stop`, and waited for; twice, it is not.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop()
        try:
            await asyncio.wait([future])
        finally:
            future.cancel()  # does nothing to one that has ended
        raise


async def contained(call: Callable[[], Awaitable[T]]) -> T:
    """What `call()` comes to.

    Raises:
        Escaped: it raised what would end the event loop.
    """
    try:
        return await call()
    except (KeyboardInterrupt, SystemExit) as error:
        raise Escaped.of(error) from error


def _without_stop(function: Callable[[], T]) -> T:
    try:
        return function()
    except StopIteration as error:  # which no future can hold
        raise Escaped.of(error) from error


def _note_end(ended: asyncio.Future[None], task: asyncio.Future[Any]) -> None:
    """Say that a task has ended, and take its exception: perhaps nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
    if not ended.done():
        ended.set_result(None)


class _Threads(Executor):
    """A new daemon thread for each call."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        work = partial(fn, *args, **kwargs)
        threading.Thread(target=_settle, args=(future, work), name="rlm-call", daemon=True).start()
        return future


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)


_THREADS = _Threads()
