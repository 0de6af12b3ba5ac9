"""The messages of the protocol over two pipes, one on each line. What is no message is answered as such; the package's
own transport would end the connection over a line that holds something else than an object."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from rlm.processes.own_streams import Descriptors

PIECE_BYTES = 1 << 20
_UNREADABLE = {"code": -32700, "message": "this line is not JSON"}
_NO_MESSAGE = {"code": -32600, "message": "a message is a JSON object on one line; batches are not taken"}


class Lines:
    """A transport of messages, as the package takes it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reading: asyncio.ReadTransport
    ) -> None:
        self._reader = reader
        self._reading = reading
        self.writer = writer
        self._turn = asyncio.Lock()

    @classmethod
    async def over(cls, wire: Descriptors) -> Lines:
        """The messages of this process's client.

        Raises:
            ConfigError: stdin or stdout is a file, so that no client is there.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=PIECE_BYTES)
        try:
            reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), wire.open_reading())
            transport, protocol = await loop.connect_write_pipe(
                lambda: asyncio.streams.FlowControlMixin(loop=loop), wire.open_writing()
            )
        except ValueError as error:
            raise ConfigError("stdin and stdout have to be pipes: rlm acp is started by an editor") from error
        return cls(reader, asyncio.StreamWriter(transport, protocol, None, loop), reading)

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None once the client has gone."""
        while line := await self._line():
            if not line.strip():
                continue
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                await self._refuse(_UNREADABLE)
                continue
            if isinstance(message, dict):
                return message
            await self._refuse(_NO_MESSAGE)
        return None

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message whole; waits while the client does not read."""
        line = json.dumps(message, separators=(",", ":"), default=str).encode() + b"\n"
        async with self._turn:
            self.writer.write(line)
            await self.writer.drain()

    async def close(self) -> None:
        """Close both ways."""
        self._reading.close()
        self.writer.close()

    async def _refuse(self, error: dict[str, Any]) -> None:
        await self.send({"jsonrpc": "2.0", "id": None, "error": error})

    async def _line(self) -> bytes:
        """A line, however long; what is left without an end at the end of the stream is one too."""
        pieces: list[bytes] = []
        while True:
            try:
                pieces.append(await self._reader.readuntil(b"\n"))
            except asyncio.LimitOverrunError as error:
                pieces.append(await self._reader.readexactly(error.consumed))
                continue
            except asyncio.IncompleteReadError as error:
                pieces.append(error.partial)
            return b"".join(pieces)
