"""The places of an engine: so many for what is in progress, and so many more that may wait for one, in their order."""

from __future__ import annotations

import asyncio
from collections import deque

from rlm.core.exceptions import QueueFullError


class Places:
    """Used on one event loop only."""

    def __init__(self, running: int, queued: int) -> None:
        self._free = running
        self._queued = queued
        self._waiting: deque[asyncio.Future[None]] = deque()

    def check_room(self) -> None:
        """Check that one more may wait.

        Raises:
            QueueFullError: too many wait already.
        """
        if sum(not each.done() for each in self._waiting) >= self._queued:
            raise QueueFullError(f"{self._queued} requests wait for a place already: try again later")

    def take(self) -> asyncio.Future[None]:
        """A place, once there is one: first come, first served."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._free:
            self._free -= 1
            place.set_result(None)
        else:
            self._waiting.append(place)
        return place

    def give_back(self, place: asyncio.Future[None]) -> None:
        """Give a place to the next; one that was never had is given up."""
        if place.cancelled() or not place.done():
            return
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._free += 1
