"""The channel to a guest in a container: one attached connection, on which the engine marks what is stdin, out and err.

Frames go over stdin and stdout, output over stderr. The end of the connection is not believed to be the guest's end:
the container is removed first.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.repl.channel import FrameParser
from rlm.repl.deaths import Death
from rlm.repl.guest import supervisor
from rlm.repl.guest.wire import HEADER, WireError, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.repl.channel import Receiver

_log = logging.getLogger(__name__)
_INTERRUPT = HEADER.pack(0, supervisor.INTERRUPT)
_BLOCK = 2
"""The kind of a header before a block of a context; nothing looks at it."""
_HEADER = struct.Struct(">BxxxI")
_STDOUT = 1
_UNREAD_BYTES = 1 << 20
"""How many bytes of answers a guest may leave unread before the host reads no more from it."""
_HEAD_BYTES = 1 << 16
_EARLY_BYTES = 20_000
_REMOVAL_S = 10.0
"""Seconds that the engine may take to remove a container; after that its stdin ends, and the container with it."""
_LAST_WORDS_S = 3.0
"""Seconds that the rest of a removed container's output may take."""
_PUSH_S = 60.0
"""Seconds that a guest may take to make room for one more block."""


class ContainerEnd(Protocol):
    """The container behind a channel."""

    async def remove(self) -> None:
        """Kill and remove it, and wait until it is gone; idempotent. Raises:
        REPLError: the engine doesn't answer.
        """
        ...

    def cpu_s(self) -> float | None: ...


class Demultiplexer:
    """Cuts the engine's stream into pieces of stdout and stderr; keeps nothing but a header that is incomplete."""

    def __init__(self) -> None:
        self._header = b""
        self._kind = 0
        self._left = 0

    def feed(self, received: bytes) -> Iterator[tuple[bool, bytes]]:
        """Yield pieces, each with whether it is stdout."""
        rest = memoryview(received)
        while rest:
            if not self._left:
                missing = _HEADER.size - len(self._header)
                self._header += bytes(rest[:missing])
                rest = rest[missing:]
                if len(self._header) < _HEADER.size:
                    return
                self._kind, self._left = _HEADER.unpack(self._header)
                self._header = b""
            piece = bytes(rest[: self._left])
            rest = rest[len(piece) :]
            self._left -= len(piece)
            if piece:
                yield self._kind == _STDOUT, piece


class Upgrade:
    """The engine's answer to a request that asks for streams: a head, after which they begin."""

    def __init__(self) -> None:
        self._head: bytearray | None = bytearray()
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the streams begin. Raises: REPLError: there are none; says why."""

    def feed(self, data: bytes) -> bytes:
        """What of the data belongs to the streams."""
        if self._head is None:
            return data
        self._head += data
        head, end, rest = bytes(self._head).partition(b"\r\n\r\n")
        if not end and len(self._head) < _HEAD_BYTES:
            return b""
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        self._head = None
        if self.begun.done():
            return b""
        if end and (" 101 " in status or " 200 " in status):
            self.begun.set_result(None)
            return rest
        self.begun.set_exception(REPLError(f"the engine gives no streams: {status} {rest[:500]!r}"))
        return b""

    def lost(self, why: REPLError) -> None:
        """Tell whoever waits that the connection has ended."""
        if not self.begun.done():
            self.begun.set_exception(why)
            self.begun.exception()  # nobody may have got so far as to wait


class DockerChannel(asyncio.Protocol):
    """Speaks for one container from before it starts until it is gone."""

    def __init__(self, body: ContainerEnd) -> None:
        self._body = body
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._upgrade = Upgrade()
        self._warm: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._disconnected = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._parser = FrameParser()
        self._streams = Demultiplexer()
        self._early = b""
        self._receiver: Receiver | None = None
        self._death: Death | None = None
        self._ending: asyncio.Task[None] | None = None

    # Before the REPL has it.

    async def begin(self, container: str) -> None:
        """Ask the engine for the streams of a container; to be called before that is started. Raises:
        REPLError: it refuses.
        """
        assert self._transport is not None
        query = "stream=1&stdin=1&stdout=1&stderr=1"
        head = f"POST /containers/{container}/attach?{query} HTTP/1.1\r\nHost: docker\r\n"
        self._transport.write(f"{head}Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        await self._upgrade.begun

    async def warm(self) -> dict[str, Any]:
        """Wait for the guest's first words. Raises:
        REPLError: it ended instead; says what it printed.
        """
        return await asyncio.shield(self._warm)

    @property
    def is_alive(self) -> bool:
        return self._ending is None and not self._disconnected.is_set()

    async def push(self, block: bytes) -> None:
        """Send a block of a context, at the pace of the guest. Raises:
        REPLError: it, or the engine, takes no more.
        """
        try:
            async with asyncio.timeout(_PUSH_S):
                await self._may_write.wait()
        except TimeoutError as e:
            raise REPLError(f"the container took nothing of its context for {_PUSH_S:g} s") from e
        self.send(HEADER.pack(len(block), _BLOCK) + block)

    async def aclose(self) -> None:
        """End the container, with or without a receiver, and wait until it is gone."""
        self.kill()
        await self.wait_closed()

    # As a Channel.

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver
        early, self._early = self._early, b""
        if early:
            receiver.output_received(early)

    def send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def drain_output(self) -> None:
        """What there is was delivered as it came: two streams that the engine joins have no order to restore."""

    def interrupt(self) -> None:
        self.send(_INTERRUPT)

    def kill(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())

    def cpu_s(self) -> float | None:
        return self._body.cpu_s()

    def threads(self) -> int | None:
        """None: the container's own limit of processes and threads holds."""
        return None

    async def wait_closed(self) -> None:
        await asyncio.shield(self._gone)

    async def death(self) -> Death | None:
        """What is known of the container's end; the guest's own end comes as a frame from process 1."""
        return self._death

    # As a Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNREAD_BYTES)

    def data_received(self, data: bytes) -> None:
        for is_frames, piece in self._streams.feed(self._upgrade.feed(data)):
            if is_frames:
                self._frames_received(piece)
            elif self._receiver is None:
                self._early = (self._early + piece)[:_EARLY_BYTES]
            else:
                self._receiver.output_received(piece)

    def pause_writing(self) -> None:
        """A guest that reads no answers makes no more calls either: else they would pile up here without end."""
        assert self._transport is not None
        self._may_write.clear()
        if self._receiver is not None and self._ending is None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        assert self._transport is not None
        self._may_write.set()
        self._transport.resume_reading()

    def eof_received(self) -> None:
        """What was not sent yet has nobody to go to."""
        assert self._transport is not None
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disconnected.set()
        self._may_write.set()
        why = REPLError(f"the engine closed the connection: {exc or 'without a word'}")
        self._upgrade.lost(why)
        if not self._warm.done():
            said = self._early.decode("utf-8", "replace").strip()
            self._warm.set_exception(REPLError(said or str(why)))
            self._warm.exception()
        self.kill()

    def _frames_received(self, piece: bytes) -> None:
        if self._receiver is not None:
            self._receiver.frames_received(piece)
            return
        try:
            for payload in self._parser.feed(piece):
                if not self._warm.done():
                    self._warm.set_result(unpack(payload))
        except WireError:
            self.kill()

    async def _end(self) -> None:
        """The only way out: remove the container, hear what it still had to say, tell the receiver."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()  # the engine lets no container go whose streams nobody empties
        try:
            await self._remove()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._disconnected.wait()
        finally:
            if self._transport is not None:
                self._transport.abort()
            self._gone.set_result(None)
            if self._receiver is not None:
                self._receiver.closed()

    async def _remove(self) -> None:
        try:
            async with asyncio.timeout(_REMOVAL_S):
                await self._body.remove()
        except (SandboxUnavailableError, TimeoutError):  # an engine that is gone has closed the guest's stdin
            self._death = Death(cause="engine")
        except REPLError as e:
            _log.warning("a container may be left for the watchdog to remove: %s", e)
