"""The channel to a guest that is a process of this machine: a socket for frames, a pipe for output, a pidfd."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from rlm.repl.channel import Receiver
    from rlm.repl.deaths import Death

_READ_BYTES = 1 << 18
_MAX_READS = 64
_CPU_CLOCK = 2
_UNREAD_BYTES = 1 << 20
"""How many bytes of answers a guest may leave unread before the host reads no more from it."""


def _nothing() -> None:
    return None


class ForkedChannel(asyncio.Protocol):
    """Owns the three descriptors; signals go through the pidfd, so never to another process."""

    def __init__(
        self,
        frames: socket.socket,
        output: int,
        pid: int,
        pidfd: int,
        *,
        how_ended: Callable[[], Awaitable[Death | None]],
        on_exit: Callable[[], object] = _nothing,
    ) -> None:
        """`on_exit` is called once the process has ended, to reap it and what was its own; `how_ended` later."""
        self._socket = frames
        self._output = output
        self._pidfd = pidfd
        self._on_exit = on_exit
        self._how_ended = how_ended
        self._tasks = Path(f"/proc/{pid}/task")
        self._clock = (~pid << 3) | _CPU_CLOCK  # clock_getcpuclockid(3)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._has_exited = False
        self._has_disconnected = False
        self._gone = self._loop.create_future()

    async def connect(self) -> None:
        """Take the socket over; called once, before `attach`."""
        os.set_blocking(self._output, False)
        transport, _ = await self._loop.create_unix_connection(lambda: self, sock=self._socket)
        self._transport = transport
        self._transport.pause_reading()
        self._transport.set_write_buffer_limits(high=_UNREAD_BYTES)

    def abandon(self) -> None:
        """Kill a guest that was never attached, and close what leads to it."""
        self.kill()
        for descriptor in (self._pidfd, self._output):
            os.close(descriptor)
        self._pidfd = self._output = -1  # their numbers may be another's by now
        self._socket.close()

    def attach(self, receiver: Receiver) -> None:
        assert self._transport is not None
        self._receiver = receiver
        self._transport.resume_reading()
        self._loop.add_reader(self._output, self._read_output, 1)
        self._loop.add_reader(self._pidfd, self._exited)

    def send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def drain_output(self) -> None:
        self._read_output(_MAX_READS)

    def interrupt(self) -> None:
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def cpu_s(self) -> float | None:
        if self._has_exited:  # its number may be another's by now
            return None
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # it ends just now
            return None

    def threads(self) -> int | None:
        if self._has_exited:
            return None
        try:
            return self._tasks.stat().st_nlink - 2
        except OSError:  # it ends just now, or /proc hides it
            return None

    async def wait_closed(self) -> None:
        await asyncio.shield(self._gone)

    async def death(self) -> Death | None:
        return await self._how_ended()

    def data_received(self, data: bytes) -> None:
        assert self._receiver is not None
        self._receiver.frames_received(data)

    def pause_writing(self) -> None:
        """A guest that reads no answers makes no more calls either: else they would pile up here without end."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        self._has_disconnected = True
        self.kill()  # without frames it is of no use
        self._finish()

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:  # it has ended; `_exited` comes
            return

    def _read_output(self, reads: int) -> None:
        """Deliver some of what is in the pipe: bounded, so that a flood leaves the loop room for others."""
        while reads and self._output >= 0:
            reads -= 1
            try:
                received = os.read(self._output, _READ_BYTES)
            except BlockingIOError:
                return
            if not received:
                self._close_output()
                return
            assert self._receiver is not None
            self._receiver.output_received(received)

    def _close_output(self) -> None:
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = -1

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._has_exited = True
        self._on_exit()
        self._finish()

    def _finish(self) -> None:
        if not (self._has_exited and self._has_disconnected) or self._gone.done():
            return
        self.drain_output()
        self._close_output()
        self._gone.set_result(None)
        assert self._receiver is not None
        self._receiver.closed()


async def readable(descriptor: int) -> None:
    """Wait until there is something to read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
