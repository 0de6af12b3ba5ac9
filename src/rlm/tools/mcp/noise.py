"""What a server says besides the protocol: counted, with the first of it, where the library would log each message.

The library logs by loggers of the whole process; only what it says of the connection of the current task is held back.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar

from rlm.core.plain import one_line

_LOGGERS = ("client", "mcp.client.client", "mcp.client.streamable_http", "mcp.shared.jsonrpc_dispatcher")
_FIRST_CHARS = 120


class Noise:
    """Counts the messages of one server that can't be read."""

    def __init__(self) -> None:
        self._count = 0
        self._first = ""

    def add(self, said: str) -> None:
        """Count one; of the first, its beginning is kept."""
        self._first = self._first or one_line(said, _FIRST_CHARS)
        self._count += 1

    def take(self) -> str:
        """What was counted since this was last asked, in words; empty if that is nothing."""
        if not self._count:
            return ""
        first = f", the first of them: {self._first}" if self._first else ""
        lines = "1 line that is no message" if self._count == 1 else f"{self._count:,} lines that are no messages"
        self._count, self._first = 0, ""
        return f"wrote {lines} of the protocol{first}"

    def hold_back(self) -> None:
        """Count what the library logs in the current task, and in those that it starts, instead of having it logged."""
        _current.set(self)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_is_logged)  # which adds it once


_current: ContextVar[Noise | None] = ContextVar("noise of the connection", default=None)


def _is_logged(record: logging.LogRecord) -> bool:
    noise = _current.get()
    if noise is None:
        return True
    if record.levelno >= logging.WARNING:
        noise.add(record.getMessage())
    return False
