"""One Deno process with Python in it: started ahead of need, given its context later, ended with all it had."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.core.contexts.context import readable_size
from rlm.core.exceptions import REPLError
from rlm.repl.deaths import Death
from rlm.repl.forked import ForkedChannel, readable
from rlm.repl.spool_folders import blocks, size_bytes
from rlm.repl.wasm import deno_runtime

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from rlm.core.contexts.context import Context
    from rlm.repl.wasm.deno_runtime import Deno

_READY = b"\x06"
_START_TIMEOUT_S = 60.0
_SETTLE_S = 0.1
_COMPLAINT_BYTES = 10_000
_MOST_CONTEXT_BYTES = 2**31 - 1
"""The largest object of a 32-bit Python; the decoded context must fit beside it."""
_WIDEST = 5
"""The most bytes of memory for one byte of context while it is decoded: itself, and four for its character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoPlan:
    """What every process of a sandbox is started with."""

    deno: Deno
    pyodide: Path
    snapshot: Path
    wheels: tuple[Path, ...]
    memory_bytes: int
    """The memory of one REPL, above its context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The host's ends of a process's streams."""

    frames: socket.socket
    output: int

    def close(self) -> None:
        self.frames.close()
        os.close(self.output)


class WasmProcess:
    """Implements `Warm`: waits for the REPL that takes its channel."""

    def __init__(self, process: subprocess.Popen[bytes], ends: Ends, plan: DenoPlan) -> None:
        self._process = process
        self._output = ends.output
        self._memory_bytes = plan.memory_bytes
        self._pidfd = os.pidfd_open(process.pid)
        self._channel = _Channel(
            ends.frames, ends.output, process.pid, self._pidfd, how_ended=self._how_ended, on_exit=process.wait
        )

    @classmethod
    async def start(cls, plan: DenoPlan) -> WasmProcess:
        """Start one and wait until Python in it is ready. Raises:
        REPLError: it does not start; says what it printed.
        """
        try:
            started = cls._begun(plan)
        except OSError as e:
            raise REPLError(f"a process of the sandbox wasm cannot be started: {e.strerror}") from e
        try:
            await started._wait_until_ready()
        except BaseException:
            await started.aclose()
            raise
        return started

    @classmethod
    def _begun(cls, plan: DenoPlan) -> WasmProcess:
        with contextlib.ExitStack() as undoing:
            ends, (theirs, writing) = _ends()
            undoing.callback(ends.close)
            try:
                streams = deno_runtime.Streams(stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=writing)
                process = deno_runtime.start(plan.deno, _task(plan), streams)
            finally:
                theirs.close()
                os.close(writing)
            undoing.callback(process.wait)
            undoing.callback(process.kill)
            started = cls(process, ends, plan)
            undoing.pop_all()
        return started

    @property
    def is_alive(self) -> bool:
        """It waits for a REPL."""
        return not _is_readable(self._pidfd)

    async def give(self, context: Context) -> ForkedChannel:
        """Hand over the channel, which sends the context and ends the process in the end. Raises:
        REPLError: there is no room for the context.
        """
        size = size_bytes(context)
        if size > _MOST_CONTEXT_BYTES:
            await self.aclose()
            raise REPLError(
                f"a context of {readable_size(size)} is too large for the sandbox wasm\nuse local or docker"
            )
        try:
            self._allow(self._memory_bytes + _WIDEST * size)
            self._channel.context = context
            await self._channel.connect()
        except BaseException:
            await self.aclose()
            raise
        return self._channel

    async def aclose(self) -> None:
        """End a process that no REPL has taken."""
        self._channel.abandon()
        self._process.wait()

    async def _wait_until_ready(self) -> None:
        output = self._output
        os.set_blocking(output, False)
        said = b""
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while said != _READY:
                    await readable(output)
                    piece = os.read(output, _COMPLAINT_BYTES)
                    said = (said + piece)[-_COMPLAINT_BYTES:]
                    if not piece:
                        raise REPLError(f"Python in WebAssembly does not start: {_text(said)}")
        except TimeoutError as e:
            raise REPLError(f"Python in WebAssembly did not start within {_START_TIMEOUT_S:g} s: {_text(said)}") from e

    def _allow(self, memory_bytes: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just died: whoever talks to it will see
            limits = (deno_runtime.data_bytes(memory_bytes), resource.RLIM_INFINITY)
            resource.prlimit(self._process.pid, resource.RLIMIT_DATA, limits)

    async def _how_ended(self) -> Death | None:
        status = self._process.returncode
        return None if status is None else Death.of_status(status)


class _Channel(ForkedChannel):
    """The context follows the first frame, `init`, from the file that holds it: no copy of it is ever on the disk.

    An interrupt goes through an event loop of Deno's: frames that follow it wait until it has struck, for it must not
    hit the cell after its own.
    """

    context: Context | None = None
    """The context that is still to be sent."""
    _sending: asyncio.Task[None] | None = None
    _has_room: asyncio.Event
    """The guest has taken most of what was sent."""
    _settled_at = 0.0
    _held: tuple[bytes, ...] = ()

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._has_room = asyncio.Event()
        self._has_room.set()

    def interrupt(self) -> None:
        super().interrupt()
        self._settled_at = self._loop.time() + _SETTLE_S

    def send(self, frame: bytes) -> None:
        if self._loop.time() >= self._settled_at and not self._held:
            super().send(frame)
            if self.context is not None:
                self._sending, self.context = self._loop.create_task(self._send_context(self.context)), None
            return
        if not self._held:
            self._loop.call_at(self._settled_at, self._send_held)
        self._held += (frame,)

    def _send_held(self) -> None:
        if self._loop.time() < self._settled_at:  # one more interrupt came
            self._loop.call_at(self._settled_at, self._send_held)
            return
        held, self._held = self._held, ()
        for frame in held:
            super().send(frame)

    async def _send_context(self, context: Context) -> None:
        """Send it at the pace of the guest, which says nothing before it has it all."""
        try:
            async for block in blocks(context):
                await self._has_room.wait()
                if self._has_disconnected:
                    return
                super().send(block)
        except OSError:  # the run has ended, and closed the file
            self.kill()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._has_room.clear()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._has_room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_room.set()
        super().connection_lost(exc)


def _task(plan: DenoPlan) -> deno_runtime.DenoTask:
    return deno_runtime.DenoTask(
        script="main.mjs",
        settings={
            "pyodide": str(plan.pyodide),
            "snapshot": str(plan.snapshot),
            "wheels": [str(wheel) for wheel in plan.wheels],
            "memory_bytes": plan.memory_bytes,
        },
        readable=(plan.pyodide, plan.snapshot, *plan.wheels),
        memory_bytes=plan.memory_bytes,
    )


def _ends() -> tuple[Ends, tuple[socket.socket, int]]:
    """Both ends of a process's streams: the host's, and the socket and pipe that become the process's own."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    return Ends(frames=ours, output=reading), (theirs, writing)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _text(said: bytes) -> str:
    return " ".join(said.replace(_READY, b"").decode("utf-8", "replace").split()) or "it said nothing"
