"""The time that a run has: how much of it goes to turns and sub-calls, so that a last answer still fits; and when it
stands, because the run is paused."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

LANDING_SHARE = 4
"""One part in so many of the time is kept for the landing, at most."""
LANDING_REPLIES = 2
"""A landing is given the time of so many of the slowest replies so far."""
LEAST_LANDING_S = 0.25
"""A landing is given at least so many seconds, where its share allows."""
FREE_OPENING_S = 1.0
"""The seconds that opening a run may take without counting as its time."""
LAST_SHARE = 10
"""Sub-calls are cut short when one part in so many of the time is left to the turns, `LAST_S` at most."""
LAST_S = 3.0


class RunClock:
    """The clock of one run, which begins when it is made, or somewhat before; used on one event loop only.

    It may be stopped: nothing new is to start then, and none of its limits passes.
    """

    def __init__(self, timeout_s: float | None = None, *, opening_s: float = 0.0) -> None:
        """`timeout_s` None is a run without a limit; `opening_s` is how long it took to open it."""
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time() - max(0.0, opening_s - FREE_OPENING_S)
        self._stopped_at: float | None = None
        self._slowest_s: float | None = None
        self._limits: dict[asyncio.Timeout, Callable[[], float | None]] = {}
        """The time limits in force, each with the seconds after the beginning at which it ends."""
        self._goes = asyncio.Event()
        self._goes.set()

    @property
    def timeout_s(self) -> float | None:
        """The limit of the run; None where it has none."""
        return self._timeout_s

    @property
    def is_stopped(self) -> bool:
        """Whether the run is paused."""
        return self._stopped_at is not None

    @property
    def elapsed_s(self) -> float:
        """The seconds since the run began, without those in which it was paused."""
        return (self._loop.time() if self._stopped_at is None else self._stopped_at) - self._began_at

    @property
    def left_s(self) -> float:
        """The seconds until the run must end, at least 0; infinity without a limit."""
        return math.inf if self.timeout_s is None else max(0.0, self.timeout_s - self.elapsed_s)

    @property
    def landing_s(self) -> float:
        """The seconds that are kept for a landing: by the slowest reply of the model so far, once there is one."""
        if self.timeout_s is None:
            return 0.0
        most_s = self.timeout_s / LANDING_SHARE
        if self._slowest_s is None:
            return most_s
        return min(most_s, max(LEAST_LANDING_S, LANDING_REPLIES * self._slowest_s))

    @property
    def turns_s(self) -> float | None:
        """The seconds from the beginning of the run to the end of its turns; None without a limit."""
        return None if self.timeout_s is None else self.timeout_s - self.landing_s

    @property
    def answers_left_s(self) -> float | None:
        """The seconds that sub-calls may still take, so that the cell that asked can use what it has; None without a
        limit.
        """
        answers_s = self._answers_s()
        return None if answers_s is None else max(0.0, answers_s - self.elapsed_s)

    def turns(self) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """A new time limit for all turns, which moves as the model shows how fast it is."""
        return self._limit(lambda: self.turns_s)

    def answers(self) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """A new time limit for sub-calls, by `answers_left_s`."""
        return self._limit(self._answers_s)

    def within(self, seconds: float) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """A new time limit of so many seconds of this clock."""
        ends_s = self.elapsed_s + seconds
        return self._limit(lambda: ends_s)

    def heard(self, reply_s: float) -> None:
        """Take note that a reply of the model took `reply_s` seconds."""
        if self._slowest_s is not None and reply_s <= self._slowest_s:
            return
        self._slowest_s = reply_s
        self._move_limits()

    def limit_to(self, timeout_s: float | None) -> None:
        """Give the run another limit, from its beginning; None: none any more."""
        self._timeout_s = timeout_s
        self._move_limits()

    def stop(self) -> None:
        """Stand still; idempotent."""
        if self._stopped_at is None:
            self._stopped_at = self._loop.time()
            self._goes.clear()
            self._move_limits()

    def go_on(self) -> None:
        """Go on after a stop; idempotent."""
        if self._stopped_at is not None:
            self._began_at += self._loop.time() - self._stopped_at
            self._stopped_at = None
            self._goes.set()
            self._move_limits()

    async def going(self) -> None:
        """Wait while the clock stands: what starts something new awaits this first."""
        await self._goes.wait()

    def _answers_s(self) -> float | None:
        turns_s = self.turns_s
        if turns_s is None or self.timeout_s is None:
            return None
        return turns_s - min(LAST_S, self.timeout_s / LAST_SHARE)

    @asynccontextmanager
    async def _limit(self, ends_s: Callable[[], float | None]) -> AsyncIterator[asyncio.Timeout]:
        """A time limit that passes so many seconds after the beginning, as this clock goes."""
        async with asyncio.timeout_at(self._at(ends_s())) as limit:
            self._limits[limit] = ends_s
            try:
                yield limit
            finally:
                del self._limits[limit]

    def _at(self, ends_s: float | None) -> float | None:
        """The loop time of a moment of this clock; None: it never comes, as things are."""
        return None if ends_s is None or self.is_stopped else self._began_at + ends_s

    def _move_limits(self) -> None:
        for limit, ends_s in self._limits.items():
            if not limit.expired():
                limit.reschedule(self._at(ends_s()))
