"""Keeps warm `claude` processes, and gives each call one that knows nothing of earlier calls.

A process that failed, was cut off, or didn't confirm that it forgot its conversation is killed and never used again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rlm.backends.claude_cli.process import ClaudeProcess, Launch, ProgramKind
from rlm.core.exceptions import BackendConnectionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ClaudePool:
    """At most `size` processes, busy ones and idle ones together; a call beyond that waits."""

    def __init__(self, launch: Launch, size: int) -> None:
        self._launch = launch
        self._size = size
        self._slots = asyncio.Semaphore(size)
        self._idle: list[ClaudeProcess] = []
        self._alive: set[ClaudeProcess] = set()
        self._tidying: dict[asyncio.Task[None], ProgramKind] = {}
        self._closed = False

    @asynccontextmanager
    async def process(self, kind: ProgramKind) -> AsyncIterator[ClaudeProcess]:
        """A fresh process of that kind until the block ends; it is then cleared for others, out of the caller's way.

        Raises:
            BackendConnectionError: it can't be started, or the pool is closed.
        """
        await self._slots.acquire()
        try:
            taken = await self._take(kind)
        except BaseException:
            self._slots.release()
            raise
        try:
            yield taken
        finally:
            tidying = asyncio.create_task(self._tidy(taken))
            self._tidying[tidying] = kind
            tidying.add_done_callback(self._tidying.pop)

    async def aclose(self) -> None:
        """Kill every process and wait until they are gone; idempotent."""
        self._closed = True
        while self._alive:
            await self._end(next(iter(self._alive)))
        while self._tidying:
            await asyncio.wait(self._tidying)

    async def _take(self, kind: ProgramKind) -> ClaudeProcess:
        if self._closed:
            raise BackendConnectionError("claude: the backend is closed", billed=False)
        if (warm := await self._warm(kind)) is not None:
            return warm
        while self._idle and len(self._alive) >= self._size:
            await self._end(self._idle.pop(0))
        process = await ClaudeProcess.start(kind, self._launch)
        self._alive.add(process)
        return process

    async def _warm(self, kind: ProgramKind) -> ClaudeProcess | None:
        """An idle process of that kind; one that is being cleared is ready ten times sooner than a new one."""
        while True:
            for process in [process for process in self._idle if process.kind == kind]:
                self._idle.remove(process)
                if process.running:
                    return process
                await self._end(process)
            tidying = [task for task, of in self._tidying.items() if of == kind]
            if not tidying:
                return None
            await asyncio.wait(tidying, return_when=asyncio.FIRST_COMPLETED)

    async def _tidy(self, process: ClaudeProcess) -> None:
        try:
            if process.usable and not self._closed:
                await process.clear()
            if process.usable and not self._closed:
                self._idle.append(process)
            else:
                await self._end(process)
        finally:
            self._slots.release()

    async def _end(self, process: ClaudeProcess) -> None:
        self._alive.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        await process.kill()
