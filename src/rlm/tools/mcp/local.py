"""The transport to a server that is started here, line by line. The library's own logs each line that is no message
with a traceback, reads lines of any length, and keeps neither the exit code nor the last words of a program that ends.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from rlm.core.plain import plain
from rlm.processes.child import Command, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.client._transport import TransportStreams

    from rlm.processes.child import Child
    from rlm.tools.mcp.noise import Noise

    Incoming = MemoryObjectSendStream[SessionMessage | Exception]
    Outgoing = MemoryObjectReceiveStream[SessionMessage]

LINE_BYTES = 64 << 20
"""The length that a message may have; a server that writes a longer one is ended."""
_LEAVE_S = 2.0
"""How long a program may take to end after its stdin was closed, and again after a signal."""
_LAST_LINES = 8
_LINE_CHARS = 200


@dataclass(slots=True)
class Program:
    """The program of a server, and how it ended."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    ending: str = ""
    """How its output ended, once it has."""
    _child: Child | None = None

    @property
    def last_lines(self) -> str:
        """The last lines that it wrote to its standard error, each indented; empty without any."""
        said = "" if self._child is None else plain(self._child.complaint)
        lines = [line[:_LINE_CHARS] for line in said.splitlines() if line.strip()]
        return "".join(f"\n  {line}" for line in lines[-_LAST_LINES:])

    @asynccontextmanager
    async def transport(self, noise: Noise, gone: asyncio.Event) -> AsyncIterator[TransportStreams]:
        """Start the program, and end it; lines that are no messages are counted in `noise`, and `gone` is set once the
        program says nothing more.

        Raises:
            OSError: it can't be started.
        """
        env = {**get_default_environment(), **self.env}
        child = self._child = await start(Command(argv=tuple(self.argv), env=env, cwd=self.cwd), line_bytes=LINE_BYTES)
        incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        sending, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        with incoming, received, sending, outgoing:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, child, incoming, noise, gone)
                group.start_soon(_write, child, outgoing)
                try:
                    yield received, sending
                finally:
                    with anyio.CancelScope(shield=True):
                        await _end(child)
                    group.cancel_scope.cancel()

    async def _read(self, child: Child, incoming: Incoming, noise: Noise, gone: asyncio.Event) -> None:
        """Pass on the messages of the program until its output ends."""
        with incoming, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.ending = await _passed_on(child, incoming, noise)
            gone.set()


async def _passed_on(child: Child, incoming: Incoming, noise: Noise) -> str:
    """Pass on the messages of the program until its output ends; returns why it did."""
    try:
        while line := await child.stdout.readline():
            message = _message(line)
            if message is not None:
                await incoming.send(message)
            elif line.strip():
                noise.add(line.decode(errors="replace"))
    except ValueError:  # of the stream reader
        return f"it wrote a line of more than {LINE_BYTES >> 20} MB"
    with anyio.move_on_after(_LEAVE_S):
        return f"it ended with exit code {await child.wait()}"
    return "it closed its output"


def _message(line: bytes) -> SessionMessage | None:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


async def _write(child: Child, outgoing: Outgoing) -> None:
    """Hand messages to the program; one that takes no more is ended."""
    try:
        async for session_message in outgoing:
            line = session_message.message.model_dump_json(by_alias=True, exclude_unset=True)
            child.stdin.write(line.encode() + b"\n")
            await child.stdin.drain()
    except OSError:
        _terminate(child)


def _terminate(child: Child) -> None:
    if child.running:
        with suppress(ProcessLookupError):
            child.process.terminate()


async def _end(child: Child) -> None:
    """Have the program end by itself, then by a signal, then at once, with all that it started."""
    with suppress(OSError):
        child.stdin.close()
    if not await _has_ended(child):
        _terminate(child)
        await _has_ended(child)
    await child.kill()


async def _has_ended(child: Child) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LEAVE_S):
            await child.process.wait()
    return not child.running
