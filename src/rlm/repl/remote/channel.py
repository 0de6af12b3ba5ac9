"""The host's end of one far process: a guest, of which it is the channel, or a process that holds a context.

What comes is pieces of frames, of output, and notes of process 1 there, whose word on how the guest ended and what CPU
time it used is taken, for no guest code runs in it. Both ends give the line up once it has kept silent for the lease.
"""

from __future__ import annotations

import asyncio
from binascii import Error as Base64Error
from binascii import a2b_base64
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import REPLError
from rlm.repl.channel import FrameParser
from rlm.repl.deaths import Death
from rlm.repl.guest import supervisor
from rlm.repl.guest.remote import upward
from rlm.repl.guest.wire import HEADER, WireError, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.repl.channel import Receiver
    from rlm.repl.remote.line import End, FarLine

_BEAT = HEADER.pack(0, supervisor.BEAT)
_INTERRUPT = HEADER.pack(0, supervisor.INTERRUPT)
_BLOCK = 2
"""The kind of a header before a block of a context; nothing looks at it."""
_NOISE_BYTES = 1 << 16
"""How much a far shell may print before the far process begins."""
_PIECE_BYTES = 1 << 20
_NOTE_BYTES = 1 << 16
_EARLY_BYTES = 20_000
_BEATS = 3
"""How many times within a lease the host shows that it is there."""
_ENDS_S = 2.0
"""Seconds that a far process may take to notice the end of its stdin."""
_GIVEN_UP_S = 5.0
_PUSH_S = 60.0
_SIGNALLED = 128


class Pieces:
    """Cuts what comes from a far process into pieces of each kind; keeps nothing but what is incomplete of notes."""

    def __init__(self, token: str, *, as_text: bool) -> None:
        self._mark = f"\n{token}\n".encode()
        self._noise: bytearray | None = bytearray()
        self._as_text = as_text
        self._line = b""
        self._header = b""
        self._kind = 0
        self._left = 0
        self._note = b""

    @property
    def have_begun(self) -> bool:
        """The far process has said its first word."""
        return self._noise is None

    @property
    def noise(self) -> str:
        """What was printed before the far process began."""
        return bytes(self._noise or b"").decode("utf-8", "replace")

    def feed(self, received: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield pieces with their kinds; notes are whole. Raises:
        WireError: that is not what a far process sends.
        """
        if self._noise is not None:
            self._noise += received
            _before, begins, received = bytes(self._noise).partition(self._mark)
            if not begins:
                if len(self._noise) > _NOISE_BYTES:
                    raise WireError("the far shell prints without end")
                return
            self._noise = None
        yield from self._cut(memoryview(self._decoded(received) if self._as_text else received))

    def _decoded(self, received: bytes) -> bytes:
        *lines, self._line = (self._line + received).split(b"\n")
        if len(self._line) > 2 * _PIECE_BYTES:
            raise WireError("a line without end")
        try:
            return b"".join(a2b_base64(line) for line in lines)
        except Base64Error as e:
            raise WireError(f"a line that is not base64: {e}") from e

    def _cut(self, rest: memoryview) -> Iterator[tuple[int, bytes]]:
        while rest:
            if not self._left:
                missing = HEADER.size - len(self._header)
                self._header += bytes(rest[:missing])
                rest = rest[missing:]
                if len(self._header) < HEADER.size:
                    return
                self._left, self._kind = HEADER.unpack(self._header)
                self._header = b""
                if self._left > _PIECE_BYTES or (self._kind == upward.NOTE and self._left > _NOTE_BYTES):
                    raise WireError(f"a piece of {self._left:,} bytes")
            piece = bytes(rest[: self._left])
            rest = rest[len(piece) :]
            self._left -= len(piece)
            if self._kind != upward.NOTE:
                yield self._kind, piece
                continue
            self._note += piece
            if not self._left:
                note, self._note = self._note, b""
                yield self._kind, note


class FarProcess:
    """Speaks for one far process until it is gone; implements `Channel` and `Listener`."""

    def __init__(self, token: str, *, as_text: bool, lease_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._lease_s = lease_s
        self._line: FarLine | None = None
        self._pieces = Pieces(token, as_text=as_text)
        self._parser = FrameParser()
        self._first: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._begins: asyncio.Future[None] = self._loop.create_future()
        self._early = b""
        self._receiver: Receiver | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._ended = asyncio.Event()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._ending: asyncio.Task[None] | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._heard_at = monotonic()
        self._unsent = 0
        self._first_bytes = 0
        self._cpu_s = 0.0
        self._threads = 0
        self._death: Death | None = None

    # Before the REPL has it.

    def begin(self, line: FarLine, first: bytes) -> None:
        """Take the line, and send what the far process begins with."""
        self._line = line
        self._first_bytes = len(first)
        line.write(first)
        self._beat_later()
        if self._ending is not None:  # it was given up meanwhile
            line.close()

    async def begun(self) -> None:
        """Wait until it runs. Raises:
        REPLError: it doesn't; says what the line, or the far shell, printed.
        """
        await asyncio.shield(self._begins)

    async def first(self) -> dict[str, Any]:
        """Wait for its first message. Raises:
        REPLError: it ended instead; says what it, or the line, printed.
        """
        return await asyncio.shield(self._first)

    @property
    def is_alive(self) -> bool:
        return self._ending is None

    async def push_block(self, block: bytes) -> None:
        """Send a block of a context, at the pace of the line. Raises:
        REPLError: the line takes no more.
        """
        try:
            async with asyncio.timeout(_PUSH_S):
                await self._may_write.wait()
        except TimeoutError as e:
            raise REPLError(f"the line took nothing of the context for {_PUSH_S:g} s") from e
        self.send(HEADER.pack(len(block), _BLOCK) + block)

    async def aclose(self) -> None:
        """End it, with or without a receiver, and wait until it is gone."""
        self.kill()
        await self.wait_closed()

    # As a Channel.

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver
        early, self._early = self._early, b""
        if early:
            receiver.output_received(early)

    def send(self, frame: bytes) -> None:
        if self._line is not None and self._ending is None:
            self._line.write(frame)

    def drain_output(self) -> None:
        """What there is was delivered as it came, in the order in which the far process read it."""

    def interrupt(self) -> None:
        self.send(_INTERRUPT)

    def kill(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())

    def cpu_s(self) -> float | None:
        return self._cpu_s

    def threads(self) -> int | None:
        return self._threads

    async def wait_closed(self) -> None:
        await asyncio.shield(self._gone)

    async def death(self) -> Death | None:
        return self._death

    # As a Listener.

    def received(self, piece: bytes) -> None:
        self._heard_at = monotonic()
        try:
            for kind, part in self._pieces.feed(piece):
                self._take(kind, part)
            if self._pieces.have_begun and not self._begins.done():
                self._begins.set_result(None)
        except WireError as e:
            self._fail(str(e))

    def pause_writing(self) -> None:
        """A guest that reads no answers makes no more calls either: else they would pile up here without end."""
        self._may_write.clear()
        if self._receiver is not None and self._line is not None and self._ending is None:
            self._line.pause_reading()

    def resume_writing(self) -> None:
        self._may_write.set()
        if self._line is not None:
            self._line.resume_reading()

    def line_ended(self, end: End) -> None:
        self._ended.set()
        self._may_write.set()
        if self._death is None and self._ending is None:
            ended_by_signal = end.code is not None and end.code > _SIGNALLED
            self._death = Death(signal=(end.code or 0) - _SIGNALLED) if ended_by_signal else Death(cause="line")
        said = (end.words or self._early.decode("utf-8", "replace")).strip()
        self._fail(said or self._pieces.noise.strip() or "the line to it ended without a word")

    def _take(self, kind: int, part: bytes) -> None:
        if kind == upward.NOTE:
            self._take_note(unpack(part))
        elif kind == upward.OUTPUT:
            if self._receiver is None:
                self._early = (self._early + part)[:_EARLY_BYTES]
            else:
                self._receiver.output_received(part)
        elif self._receiver is not None:
            self._receiver.frames_received(part)
        else:
            for payload in self._parser.feed(part):
                self._begun(unpack(payload))

    def _take_note(self, note: dict[str, Any]) -> None:
        if note["t"] == "used":
            self._cpu_s, self._threads = float(note["cpu_s"]), int(note["threads"])
            if self._line is not None:
                self._line.heard(self._first_bytes + int(note["heard_bytes"]))
        elif note["t"] == "gone":
            self._death = Death(signal=note["signal"], code=note["code"])
        else:
            self._begun(note)

    def _begun(self, message: dict[str, Any]) -> None:
        if not self._first.done():
            self._first.set_result(message)

    def _fail(self, why: str) -> None:
        self._disappoint(why)
        self.kill()

    def _disappoint(self, why: str) -> None:
        """Tell whoever waits for a message, now or later, that none comes."""
        for awaited in (self._begins, self._first):
            if not awaited.done():
                awaited.set_exception(REPLError(why))
                awaited.exception()  # nobody may have asked for it yet

    # Its life and its end.

    def _beat_later(self) -> None:
        self._beating = self._loop.call_later(self._lease_s / _BEATS, self._beat)

    def _beat(self) -> None:
        """Show that the host is there, and see that the line is."""
        assert self._line is not None
        unsent = self._line.unsent_bytes()
        if unsent < self._unsent or not self._pieces.have_begun:  # it takes what it is sent, or is yet to log in
            self._heard_at = monotonic()
        self._unsent = unsent
        if monotonic() - self._heard_at > self._lease_s:
            self._death = self._death or Death(cause="line")
            self._fail(f"nothing came from it for {self._lease_s:g} s")
            return
        self.send(_BEAT)
        self._beat_later()

    async def _end(self) -> None:
        """The only way out: end its stdin, hear what it still has to say, tell the receiver."""
        if self._beating is not None:
            self._beating.cancel()
        try:
            if self._line is not None:
                self._line.resume_reading()
                self._line.close()
                await self._wait_for_end(_ENDS_S)
                self._line.abort()
                await self._wait_for_end(_GIVEN_UP_S)
        finally:
            self._disappoint("it was closed")
            self._gone.set_result(None)
            if self._receiver is not None:
                self._receiver.closed()

    async def _wait_for_end(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
