"""Serves over this process's own stdin and stdout. Nothing but protocol may get onto stdout: `reserve` has to be called
before anything that could print is imported."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.mcp.server.app import App


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """The descriptors of the protocol, which nobody else knows."""

    reading: int
    writing: int


def reserve() -> Descriptors:
    """Take stdin and stdout for the protocol: reads of the one find nothing, and prints to the other go to stderr."""
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Descriptors(reading=reading, writing=writing)


async def serve(config: Config, wire: Descriptors) -> None:
    """Serve one client until it closes stdin, or a signal ends the process."""
    from rlm.mcp.server.app import App
    from rlm.mcp.server.lines import serve_lines

    app = App(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _end_soon, app, number)
    # It stays open: a thread may still read from it when all else has ended.
    reading = os.fdopen(wire.reading, encoding="utf-8", errors="replace", closefd=False)
    _give_back_stdout(wire)
    await serve_lines(app.server, reading)  # takes it for itself again, at once


def _give_back_stdout(wire: Descriptors) -> None:
    sys.stdout.flush()
    os.dup2(wire.writing, 1)
    os.close(wire.writing)


_ending: set[asyncio.Task[None]] = set()


def _end_soon(app: App, number: int) -> None:
    if not _ending:
        _ending.add(asyncio.ensure_future(_end(app, number)))


async def _end(app: App, number: int) -> None:
    """Close the sandboxes and exit, without the thread that still reads stdin: nothing can stop it."""
    try:
        await app.aclose()
    finally:
        os._exit(128 + number)
