"""Watches a command on its machine: a word at half of its time and shortly before the end, and then a hard end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import SandboxUnavailableError
from rlm.core.time_notes import SHARES, time_note
from rlm.workspaces.prices import cost_usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.workspaces.provider import Machine

_GRACE_S = 10.0
"""How long a command may take to end once it was asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a machine costs, and whom to tell."""

    provider: str
    cpus: float
    memory_bytes: int
    warn: Callable[[str], None]


async def watch(running: asyncio.Task[int], machine: Machine, limit_s: float, about: Watched) -> int | None:
    """The exit code of a command; None where it was ended for its time. One that is cancelled is killed. Raises:
    SandboxUnavailableError: nobody knows how it ended.
    """
    begun = asyncio.get_running_loop().time()
    try:
        for share in (*SHARES, 1.0):
            left_s = begun + limit_s * share - asyncio.get_running_loop().time()
            await asyncio.wait([running], timeout=max(0.0, left_s))
            if running.done():
                return running.result()
            if share < 1.0:
                spent_s = limit_s * share
                cost = cost_usd(about.provider, about.cpus, about.memory_bytes, spent_s)
                about.warn(time_note("the command", spent_s, limit_s, cost))
        await _end(running, machine)
    except asyncio.CancelledError:
        await _kill(running, machine)
        raise
    return None


async def _end(running: asyncio.Task[int], machine: Machine) -> None:
    """Ask it to end, then make it."""
    try:
        await machine.signal(kill=False)
        await asyncio.wait([running], timeout=_GRACE_S)
        await machine.signal(kill=True)  # whatever it left behind, too
        await asyncio.wait([running], timeout=_GRACE_S)
    except SandboxUnavailableError:
        await machine.end()  # what can't be told to end goes with its machine
    if not running.done():
        await machine.end()
    await _gone(running)


async def _kill(running: asyncio.Task[int], machine: Machine) -> None:
    try:
        await machine.signal(kill=True)
    finally:
        await _gone(running)


async def _gone(running: asyncio.Task[int]) -> None:
    running.cancel()
    await asyncio.wait([running])
    if not running.cancelled():
        running.exception()  # it ended as it was made to
