"""The events of one submission, for any number of readers at any pace: each reads the records by itself, and waits at
their end for more. Nothing is buffered for a reader, so a slow one costs nobody anything; nothing can be missed between
what is on record and what happens next, for both are read from the file.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from rlm.jobs.engines.engine import Numbered
from rlm.trajectory.reader import Tail, Trajectory, ends_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from rlm.core.events import Event

PAUSE_EVERY = 64
"""After so many events a reader lets others have the event loop."""


class Feed:
    """The records of a submission, as they grow; used on one event loop only."""

    def __init__(self, records: Iterable[Path] = (), *, is_over: bool = False) -> None:
        """`is_over`: nothing will be added any more."""
        self.records = list(records)
        self._is_over = is_over
        self._change: asyncio.Future[None] | None = None

    def add(self, record: Path) -> None:
        """Go on with another record: what it repeats of those before is left out, and how those were ended."""
        self.records.append(record)
        self.changed()

    def end(self) -> None:
        """Let readers stop at the end of what there is."""
        self._is_over = True
        self.changed()

    def changed(self) -> None:
        """Have readers look again."""
        change, self._change = self._change, None
        if change is not None and not change.done():
            change.set_result(None)

    async def events(self, first: int = 0) -> AsyncIterator[Numbered]:
        """The events from the number `first` on, until the submission has ended."""
        number = 0
        async for event in self._all():
            if number >= first:
                yield Numbered(number=number, event=event)
            number += 1
            if not number % PAUSE_EVERY:
                await asyncio.sleep(0)

    async def _all(self) -> AsyncIterator[Event]:
        index = 0
        while await self._has(index):
            with closing(Tail(Trajectory(self.records[index]))) as tail:
                is_whole = False
                while not is_whole:
                    is_whole = not self._grows(index)
                    for event in tail.read():
                        if not ((index and event.served) or (not self._is_last(index) and ends_run(event))):
                            yield event
                    if self._grows(index):
                        await self._wait()
            index += 1

    def _is_last(self, index: int) -> bool:
        return index + 1 == len(self.records)

    def _grows(self, index: int) -> bool:
        """Whether the record of that place is still being written."""
        return self._is_last(index) and not self._is_over

    async def _has(self, index: int) -> bool:
        """Wait for the record of that place; False: there will be none."""
        while index >= len(self.records):
            if self._is_over:
                return False
            await self._wait()
        return True

    async def _wait(self) -> None:
        if self._change is None:
            self._change = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._change)
