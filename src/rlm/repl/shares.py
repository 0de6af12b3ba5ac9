"""What guests of one context share: made when the first of them needs it, ended when it is forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rlm.core.contexts.context import Context
    from rlm.repl.pool import Warm

T = TypeVar("T", bound="Warm")


class Shares(Generic[T]):
    """One item for each context, made once however many guests ask for it at one time. Belongs to one event loop."""

    def __init__(self, make: Callable[[Context], Awaitable[T]]) -> None:
        self._make = make
        self._made: dict[Context, asyncio.Task[T]] = {}

    async def get(self, context: Context) -> T:
        """The item of `context`; one that failed or died is made anew. Raises:
        Exception: whatever `make` raises.
        """
        making = self._made.get(context)
        if making is None or _is_lost(making):
            making = self._made[context] = asyncio.ensure_future(self._anew(context, making))
        return await asyncio.shield(making)

    async def forget(self, context: Context) -> None:
        """End the item of `context`, once it is made; idempotent."""
        made = self._made.pop(context, None)
        if made is not None:
            await asyncio.shield(asyncio.ensure_future(_end(made)))

    async def aclose(self) -> None:
        """End every item."""
        await asyncio.gather(*(self.forget(context) for context in list(self._made)))

    async def _anew(self, context: Context, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await _end(before)
        return await self._make(context)


def _is_lost(made: asyncio.Task[T]) -> bool:
    """Whether it can't be used: a disk that was full need not be full for ever."""
    return made.done() and (made.cancelled() or made.exception() is not None or not made.result().is_alive)


async def _end(made: asyncio.Task[T]) -> None:
    await asyncio.wait([made])
    if not made.cancelled() and made.exception() is None:
        await made.result().aclose()
