"""Answers the items of one call of guest code side by side: grants them, waits for them, notes what got no answer.

A failed item is an exception in the list of answers. What the record of an earlier run has of an item was granted then;
it is counted again, and never refused.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.events import Limit
from rlm.core.exceptions import LimitReached, RLMError, TimeLimitReached
from rlm.core.replay.record import revived_limit
from rlm.core.replay.serving import cut_off
from rlm.core.types import RunUsage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rlm.core.replay.serving import Place
    from rlm.core.run import Run, Task
    from rlm.core.types import Json

LATE = "the time of the run is nearly up: this sub-call was cut short; answer with what there is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question of a batch."""

    key: str
    place: Place
    """The cell that asks."""
    answer: Callable[[Item], Awaitable[Json]]


class Batches:
    """Answers the batches of one completion."""

    def __init__(self, run: Run, task: Task) -> None:
        self._run = run
        self._task = task

    async def answer(self, items: Sequence[Item]) -> list[Json]:
        """Answer all items at once, in their order; those beyond the sub-call budget are refused."""
        is_late = self._left_s() == 0.0
        granted = self._grant(items, is_late=is_late)
        tasks = [asyncio.ensure_future(self._answered(item)) for item in granted]
        answers = dict(zip((item.key for item in granted), await self._all(granted, tasks), strict=True))
        return [answers[item.key] if item.key in answers else self._refused(item, is_late) for item in items]

    def _grant(self, items: Sequence[Item], *, is_late: bool) -> list[Item]:
        known = [item for item in items if item.place.has(item.key)]
        again = sum(item.place.was_granted(item.key) for item in known)
        self._task.ledger.restore(RunUsage(subcalls=again), 0.0)
        fresh = len(items) - len(known)
        left = 0 if is_late else self._task.ledger.count_subcalls(fresh)
        if left == fresh:
            return list(items)
        keys = {item.key for item in known}
        new = [item for item in items if item.key not in keys]
        refused = {item.key for item in new[left:]}
        return [item for item in items if item.key not in refused]

    def _refused(self, item: Item, is_late: bool) -> LimitReached:
        """The error of an item that there was no room for, on record."""
        error = TimeLimitReached(LATE) if is_late else self._task.ledger.subcalls_exhausted()
        return self._noted(item, "refused", error)

    def _cut_short(self, item: Item) -> LimitReached:
        return self._noted(item, "cut", TimeLimitReached(LATE))

    def _noted(self, item: Item, state: str, error: LimitReached) -> LimitReached:
        limit = Limit(name=error.limit, state=state, message=str(error), key=item.key)
        self._run.recorder.record(item.place.span, limit)
        return error

    async def _all(self, items: Sequence[Item], tasks: Sequence[asyncio.Future[Json]]) -> list[Json]:
        """What every task gives; those that time is too short for are cancelled, and give an error value."""
        if not tasks:
            return []
        try:
            await asyncio.wait(tasks, timeout=self._left_s())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        pairs = zip(items, tasks, strict=True)
        return [self._cut_short(item) if task.cancelled() else task.result() for item, task in pairs]

    def _left_s(self) -> float | None:
        by = self._task.answer_by
        return None if by is None else max(0.0, by - asyncio.get_running_loop().time())

    async def _answered(self, item: Item) -> Json:
        """What an item comes to; a failure is a value, as the wire raises it in guests."""
        try:
            if (outcome := item.place.outcome(item.key)) is not None:
                await self._recorded_outcome(item, outcome)
            return await item.answer(item)
        except LimitReached as limit:
            return self._noted(item, "refused", limit)
        except (RLMError, ValueError, TypeError, LookupError, OSError) as error:
            return error
        except asyncio.CancelledError:
            cut = Limit(name="", state="cut", message="its cell ended before it was answered", key=item.key)
            self._run.recorder.record(item.place.span, cut)
            raise

    async def _recorded_outcome(self, item: Item, outcome: Limit) -> None:
        """Raise what the record says that an item came to, where that is no answer."""
        for recorded in item.place.rest(item.key):
            self._run.recall.copy(recorded, self._task.ledger)
        if not outcome.name:
            await cut_off()
        raise revived_limit(outcome)
