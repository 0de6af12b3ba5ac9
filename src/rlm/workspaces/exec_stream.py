"""A process in a container that runs already: its stdin and what it prints, over one connection to the engine."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLError
from rlm.repl.docker.channels import Demultiplexer, Upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

_ASKED = json.dumps({"Detach": False, "Tty": False}).encode()


class ExecStream(asyncio.Protocol):
    """Speaks for one process from before it starts until its streams end."""

    def __init__(self, heard: Callable[[bool, bytes], None]) -> None:
        """`heard` is given each piece, with whether it is stdout."""
        self._heard = heard
        self._transport: asyncio.Transport | None = None
        self._upgrade = Upgrade()
        self._streams = Demultiplexer()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.ended = asyncio.Event()

    async def begin(self, process: str) -> None:
        """Start the process of that id, which the engine gave. Raises:
        REPLError: it refuses.
        """
        assert self._transport is not None
        head = f"POST /exec/{process}/start HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(_ASKED)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        self._transport.write(head.encode() + _ASKED)
        await self._upgrade.begun

    async def write(self, piece: bytes) -> None:
        """Send a piece of stdin, at the pace of the process; dropped once it has ended."""
        waiting = [asyncio.ensure_future(each.wait()) for each in (self._may_write, self.ended)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(piece)

    def end_input(self) -> None:
        """End its stdin."""
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        """Listen no more; the process is not ended by that."""
        if self._transport is not None:
            self._transport.abort()

    # As a Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for is_stdout, piece in self._streams.feed(self._upgrade.feed(data)):
            self._heard(is_stdout, piece)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self._upgrade.lost(REPLError(f"the engine closed the connection: {exc or 'without a word'}"))
