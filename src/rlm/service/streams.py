"""What is sent to clients as it comes: each piece has so long to be read, and a client that reads no more is hung up
on. It may come back, and go on from its last number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable

PIECE_BYTES = 1 << 16
"""The most that has to be read in that time."""


class ServerSentEvents(web.StreamResponse):
    """An answer in server-sent events."""

    def __init__(self, request: web.Request, patience_s: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.content_type = "text/event-stream"
        self._asked = request
        self._patience_s = patience_s

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send some bytes.

        Raises:
            ConnectionResetError: the client has gone, or reads no more.
        """
        for start in range(0, len(data), PIECE_BYTES):
            await sent(super().write(data[start : start + PIECE_BYTES]), self._asked.transport, self._patience_s)


async def sent(sending: Awaitable[None], transport: asyncio.BaseTransport | None, patience_s: float) -> None:
    """Wait until something is sent.

    Raises:
        ConnectionResetError: the client has gone, or reads no more.
    """
    try:
        async with asyncio.timeout(patience_s):
            await sending
    except TimeoutError as error:
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
        raise ConnectionResetError("the client reads no more") from error
