"""Keeps a few guests started ahead of need; it knows no sandbox, only how to make one more.

What is handed out is never used again: a guest that ran code has no second user.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Warm(Protocol):
    """An item that a pool keeps."""

    @property
    def is_alive(self) -> bool:
        """It can still be used."""
        ...

    async def aclose(self) -> None:
        """End it and wait until it is gone; idempotent."""
        ...


T = TypeVar("T", bound=Warm)

_CLOSED = "the pool is closed"


class WarmPool(Generic[T]):
    """At most `size` items, ready or being made; with size 0 each is made when it is taken.

    `make` may be cancelled, and then cleans up after itself. One that failed is forgotten: whoever takes next makes
    anew, and gets that error. Belongs to one event loop.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], *, size: int, refill_after_s: float = 0.05) -> None:
        """An item that was taken has `refill_after_s` seconds to begin its work before the next one is made."""
        self._make = make
        self._size = size
        self._refill_after_s = refill_after_s
        self._waiting: deque[asyncio.Task[T]] = deque()
        self._claimed: set[asyncio.Task[T]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def fill(self) -> None:
        """Begin to make what is missing, in the background."""
        self._timer = None
        while not self._is_closed and len(self._waiting) < self._size:
            self._waiting.append(self._begin())

    async def ready(self) -> None:
        """Wait until there is an item to take. Raises:
        RuntimeError: the pool is closed.
        Exception: whatever `make` raises.
        """
        self.fill()
        self._waiting.appendleft(await self._alive())

    async def take(self) -> T:
        """An item that is alive: a ready one, else the first that is being made, else a new one.

        Raises:
            RuntimeError: the pool is closed.
            Exception: whatever `make` raises.
        """
        item = (await self._alive()).result()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._refill_after_s, self.fill)
        return item

    async def aclose(self) -> None:
        """Stop making, end what waits, and wait until all is gone; idempotent."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        waiting = [*self._waiting, *self._claimed]
        self._waiting.clear()
        for making in waiting:
            making.cancel()
        for made in await asyncio.gather(*waiting, return_exceptions=True):
            if not isinstance(made, BaseException):
                self._close_later(made)
        await asyncio.gather(*self._closing)

    async def _alive(self) -> asyncio.Task[T]:
        """The task of an item that was made and is alive."""
        while self._waiting:
            making = await self._claim(self._next())
            if making.cancelled() or making.exception() is not None:
                continue
            if making.result().is_alive:
                return self._usable(making)
            self._close_later(making.result())
        return self._usable(await self._claim(self._begin()))

    def _usable(self, making: asyncio.Task[T]) -> asyncio.Task[T]:
        if self._is_closed:  # `aclose` ends what was made
            raise RuntimeError(_CLOSED)
        making.result()
        return making

    def _begin(self) -> asyncio.Task[T]:
        if self._is_closed:
            raise RuntimeError(_CLOSED)
        making = asyncio.ensure_future(self._made())
        making.add_done_callback(_look_at)
        return making

    async def _made(self) -> T:
        return await self._make()

    def _next(self) -> asyncio.Task[T]:
        """The next task to take: ready items first, in the order they were begun."""
        making = next((each for each in self._waiting if each.done()), self._waiting[0])
        self._waiting.remove(making)
        return making

    async def _claim(self, making: asyncio.Task[T]) -> asyncio.Task[T]:
        """Wait until it is made, or failed; if the caller is cancelled meanwhile, the next one gets it."""
        if making.done():
            return making
        self._claimed.add(making)
        try:
            await asyncio.wait([making])
        except asyncio.CancelledError:
            self._put_back(making)
            raise
        finally:
            self._claimed.discard(making)
        return making

    def _put_back(self, making: asyncio.Task[T]) -> None:
        if not self._is_closed and len(self._waiting) < self._size:
            self._waiting.appendleft(making)
        elif not making.cancel() and not making.cancelled() and making.exception() is None:
            self._close_later(making.result())

    def _close_later(self, item: T) -> None:
        closing = asyncio.ensure_future(item.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _look_at(making: asyncio.Task[T]) -> None:
    """Mark an error as seen: whoever takes the item gets it, and an item that nobody takes is not worth a warning."""
    if not making.cancelled():
        making.exception()
