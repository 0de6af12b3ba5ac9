"""Serves over this process's own stdin and stdout, which `rlm.processes.own_streams` has taken for the protocol."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.mcp.server.app import App
    from rlm.processes.own_streams import Descriptors


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
