"""Bounds the REPLs that are alive at one time in a run, without ever letting completions wait for each other for good.

A completion keeps its slot while it waits for its children. So a child may wait for a slot only while some holder can
still end without one: a holder that no waiter descends from. Otherwise it is refused, and runs as a plain call.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.core.budget import Ledger


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    node: Ledger
    granted: asyncio.Future[None]


class SandboxSlots:
    """`limit` slots over the tree of completions; a completion is known by its ledger."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._holders: set[Ledger] = set()
        self._waiters: list[_Waiter] = []

    @asynccontextmanager
    async def slot(self, node: Ledger) -> AsyncIterator[bool]:
        """Hold a slot for `node`, waiting for one if that can end; yields False, at once, where it can't."""
        if not await self._take(node):
            yield False
            return
        try:
            yield True
        finally:
            self._give_back(node)

    async def _take(self, node: Ledger) -> bool:
        if self._free:
            self._free -= 1
            self._holders.add(node)
            return True
        waiter = _Waiter(node, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        if self._stuck():
            self._waiters.remove(waiter)
            return False
        try:
            await waiter.granted
        except asyncio.CancelledError:
            self._forget(waiter)
            raise
        return True

    def _stuck(self) -> bool:
        """Whether every holder has a waiter below it."""
        waiting_above = {above for waiter in self._waiters for above in waiter.node.line()}
        return self._holders <= waiting_above

    def _give_back(self, node: Ledger) -> None:
        self._holders.remove(node)
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.granted.done():
                self._holders.add(waiter.node)
                waiter.granted.set_result(None)
                return
        self._free += 1

    def _forget(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.node in self._holders:  # granted and cancelled in the same moment
            self._give_back(waiter.node)
