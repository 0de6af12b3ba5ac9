"""An event loop whose clock jumps: waiting takes no time, and what waits for nothing at all is found out at once.
Nothing that runs on it may use threads or sockets."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_ROUNDS = 2_000_000
"""Rounds of the loop after which a run counts as one that never ends."""
THREAD_S = 0.002
"""What a call in a thread takes."""


class Stuck(BaseException):
    """Nothing can ever happen again, or too much happens; not an `Exception`, so that no boundary takes it for one."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s; what would run in a thread runs in place, a moment later."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_JumpingSelector(self._advance))

    def time(self) -> float:
        return self._now_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        self.call_later(THREAD_S, _settle, future, func, args)
        return future

    def _advance(self, seconds: float) -> None:
        self._now_s += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise Stuck(f"still running after {MAX_ROUNDS} rounds of the loop")
        if timeout is None:
            raise Stuck("every task waits and nothing is due: a deadlock")
        if timeout > 0:
            self._advance(timeout)
        return []


def _settle(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.cancelled():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:  # noqa: BLE001 - as an executor does
        future.set_exception(error)


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time.

    Raises:
        Stuck: it never ends.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
