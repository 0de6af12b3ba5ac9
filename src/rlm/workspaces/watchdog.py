"""Watches a command on its machine: a word at half of its time and shortly before the end, and then a hard end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import SandboxUnavailableError
from rlm.workspaces.prices import cost_usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.workspaces.provider import Machine

WARNED_AT = (0.5, 5 / 6)
"""At which shares of its time a command is spoken of: 30 and 50 of 60 minutes."""
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
        for share in (*WARNED_AT, 1.0):
            left_s = begun + limit_s * share - asyncio.get_running_loop().time()
            await asyncio.wait([running], timeout=max(0.0, left_s))
            if running.done():
                return running.result()
            if share < 1.0:
                about.warn(_words(limit_s * share, limit_s, about))
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


def _words(spent_s: float, limit_s: float, about: Watched) -> str:
    cost = cost_usd(about.provider, about.cpus, about.memory_bytes, spent_s)
    price = "" if not cost else f", ${cost:.2f} so far"
    left_s = limit_s - spent_s
    return f"the command has run for {_span(spent_s)}{price}; it is ended in {_span(left_s)}"


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
