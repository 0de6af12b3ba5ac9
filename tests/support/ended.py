"""Waits for the end of processes that this one didn't start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable


async def until_ended(pids: Iterable[int], timeout_s: float = 20.0) -> None:
    """Wait until each has ended; a zombie has. Raises TimeoutError where one lives on."""
    async with asyncio.timeout(timeout_s):
        for pid in pids:
            await _until_ended(pid)


async def _until_ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
