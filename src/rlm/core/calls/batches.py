"""Answers the items of one call of guest code side by side: grants them, waits for them, notes what got no answer.

A failed item is an exception in the list of answers. What the record of an earlier run has of an item was granted then;
it is counted again, and never refused.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from rlm.core.exceptions import LimitReached, RLMError, TimeLimitReached
from rlm.core.off_loop import in_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.clock import RunClock
    from rlm.core.replay.scope import Scope
    from rlm.core.types import Json

LATE = "the time of the run is nearly up: this sub-call was cut short; answer with what there is"

CUT = "its cell, or the time of the run, ended before it was answered"


class Item(Protocol):
    """One question of a batch."""

    @property
    def key(self) -> str: ...

    @property
    def words(self) -> str:
        """What is asked."""
        ...

    async def answer(self) -> Json:
        """The answer to the question; raises the error by which it failed."""
        ...


async def answer_all(scope: Scope, items: Sequence[Item], clock: RunClock) -> list[Json]:
    """The answers of a batch in the order of its items, which the cell `scope` asked; all are asked at once.

    Those beyond the sub-call budget are refused. When the run's time for sub-calls is up they are cut short.
    """
    is_late = clock.answers_left_s == 0.0
    refused = _refused(scope, [item.key for item in items], is_late=is_late)
    granted = [item for item in items if item.key not in refused]
    tasks = [asyncio.ensure_future(_answered(scope, item)) for item in granted]
    answers = dict(zip((item.key for item in granted), await _all(scope, granted, tasks, clock), strict=True))
    return [
        answers[item.key] if item.key in answers else _refusal(scope, item, is_late=is_late)
        async for item in in_turns(items)
    ]


def _refused(scope: Scope, keys: Sequence[str], *, is_late: bool) -> set[str]:
    """The keys of the items that there is no room for."""
    known = scope.known(keys)
    fresh = [key for key in keys if key not in known]
    room = 0 if is_late else scope.ledger.count_subcalls(len(fresh))
    return set(fresh[room:])


def _refusal(scope: Scope, item: Item, *, is_late: bool) -> LimitReached:
    """The error of an item that there was no room for, on record."""
    error = TimeLimitReached(LATE) if is_late else scope.ledger.subcalls_exhausted()
    scope.refuse(item.key, error, asked=item.words)
    scope.ledger.count_failed(error)
    return error


async def _all(
    scope: Scope, items: Sequence[Item], tasks: Sequence[asyncio.Future[Json]], clock: RunClock
) -> list[Json]:
    """What every task gives; those that time is too short for are cancelled, and give an error value."""
    if not tasks:
        return []
    try:
        await _done(tasks, clock)
    finally:
        if left := [task for task in tasks if task.cancel()]:
            await asyncio.gather(*left, return_exceptions=True)  # which waits though this is cancelled once more
        for task in tasks:  # the first failure is raised below, and no other is to be reported as overlooked
            if not task.cancelled():
                task.exception()
    return [
        _cut_short(scope, item) if task.cancelled() else task.result()
        async for item, task in in_turns(zip(items, tasks, strict=True))
    ]


async def _done(tasks: Sequence[asyncio.Future[Json]], clock: RunClock) -> None:
    """Wait until all tasks are done, or their time is up."""
    try:
        async with clock.answers() as limit:
            await asyncio.wait(tasks)
    except TimeoutError:
        if not limit.expired():
            raise


def _cut_short(scope: Scope, item: Item) -> LimitReached:
    error = TimeLimitReached(LATE)
    scope.refuse(item.key, error, "cut")
    return error


async def _answered(scope: Scope, item: Item) -> Json:
    """What an item comes to; a failure is a value, as the wire raises it in guests."""
    try:
        return await item.answer()
    except (RLMError, ValueError, TypeError, LookupError, OSError) as error:
        scope.ledger.count_failed(error)
        return error
    except asyncio.CancelledError:
        scope.ledger.count_failed(TimeLimitReached(CUT))
        scope.cut(item.key)
        raise
    finally:
        scope.ledger.count_answered()
