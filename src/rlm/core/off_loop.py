"""Keeps work that may take long off the event loop: a thread does it, and stops soon after nobody waits for it.

What is small is better done at once, for a thread takes some tenth of a millisecond: `is_large` tells the two apart.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from rlm.core.parts import SIMPLE, TEXTS, parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

T = TypeVar("T")

LARGE_CHARS = 20_000
"""The most characters on which the loop itself works. Of hostile text the masker reads about a million in a second."""
_PART_CHARS = 40
"""The characters that each value weighs beside its own: a short text costs as much as a longer one."""

_AT_A_TIME = 100

_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


async def off_loop(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a thread and return its result; if this is cancelled, the function ends at its next
    `checkpoint`.
    """
    given_up = threading.Event()

    def work() -> T:
        _given_up.set(given_up)  # in the copy of the context that the thread has
        return function(*args)

    try:
        return await asyncio.to_thread(work)
    finally:
        given_up.set()


async def off_loop_if_large(function: Callable[..., T], *args: Any) -> T:
    """Call a function, in a thread as `off_loop` does if what it is given is large."""
    return await off_loop(function, *args) if is_large(*args) else function(*args)


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Go through many items on the event loop, and let it do other things after every few of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)


def checkpoint() -> None:
    """End the work of this thread if nobody waits for it; called now and then by what may take long.

    Raises:
        asyncio.CancelledError: the task that awaited the work was cancelled.
    """
    given_up = _given_up.get()
    if given_up is not None and given_up.is_set():
        raise asyncio.CancelledError


def is_large(*values: Any) -> bool:
    """Whether work on these values may take long; looks at no more of them than it takes to know."""
    left_chars, waiting = LARGE_CHARS, [iter(values)]
    while waiting:
        for value in waiting[-1]:
            left_chars -= _PART_CHARS
            if isinstance(value, TEXTS):
                left_chars -= len(value)
            elif left_chars >= 0 and type(value) not in SIMPLE and (parts := parts_of(value)) is not None:
                waiting.append(iter(parts))
                break
            if left_chars < 0:
                return True
        else:
            waiting.pop()
    return False
