"""The time that a run has: how much of it goes to turns and sub-calls, so that a last answer still fits."""

from __future__ import annotations

import asyncio
import math

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
    """The clock of one run, which begins when it is made, or somewhat before; used on one event loop only."""

    def __init__(self, timeout_s: float | None = None, *, opening_s: float = 0.0) -> None:
        """`timeout_s` None is a run without a limit; `opening_s` is how long it took to open it."""
        self.timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time() - max(0.0, opening_s - FREE_OPENING_S)
        self._slowest_s: float | None = None
        self._turns: asyncio.Timeout | None = None

    @property
    def elapsed_s(self) -> float:
        """The seconds since the run began."""
        return self._loop.time() - self._began_at

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
        turns_s = self.turns_s
        if turns_s is None or self.timeout_s is None:
            return None
        return max(0.0, turns_s - min(LAST_S, self.timeout_s / LAST_SHARE) - self.elapsed_s)

    def turns(self) -> asyncio.Timeout:
        """A new time limit for all turns, which moves as the model shows how fast it is."""
        self._turns = asyncio.timeout_at(self._turns_end())
        return self._turns

    def heard(self, reply_s: float) -> None:
        """Take note that a reply of the model took `reply_s` seconds."""
        if self._slowest_s is not None and reply_s <= self._slowest_s:
            return
        self._slowest_s = reply_s
        if self._turns is not None and not self._turns.expired():
            self._turns.reschedule(self._turns_end())

    def _turns_end(self) -> float | None:
        """The loop time at which turns end."""
        return None if self.turns_s is None else self._began_at + self.turns_s
