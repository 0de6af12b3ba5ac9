"""The host's end of zygotes: starts the base zygote, asks zygotes to fork, and ends them."""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.repl.deaths import Death
from rlm.repl.forked import readable
from rlm.repl.guest.linux.control import MAX_DESCRIPTORS
from rlm.repl.guest.wire import HEADER, pack, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rlm.core.contexts.context import Context

_ROOT = str(Path(__file__).parents[3])
_BOOTSTRAP = "import sys; sys.path.append({root!r}); from rlm.repl.guest.linux.zygote import main; main({fd}, {pid})"
_START_TIMEOUT_S = 60.0
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH",)
"""The environment variables that the interpreter may need to start; guests get none of them."""
_SET_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""Sets come in the same order each time, so that a cell which is run again prints the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """A child of a zygote; the pidfd is the receiver's to close."""

    pid: int
    pidfd: int


class HostZygote:
    """One zygote process, asked for one thing at a time."""

    def __init__(self, control: socket.socket, pidfd: int) -> None:
        self._control = control
        self._control.setblocking(False)
        self._pidfd = pidfd
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._note_end)

    @property
    def is_alive(self) -> bool:
        """Its process runs, as far as the event loop has noticed."""
        return not self._ended.is_set()

    @classmethod
    async def spawn(cls, settings: Mapping[str, Any]) -> tuple[HostZygote, Mapping[str, Any]]:
        """Start a base zygote; returns it with its `ready` message.

        Raises:
            SandboxUnavailableError: it does not start; says what it printed.
        """
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as complaints:
            with theirs:  # closed here, so that the end of the zygote is the end of the stream
                # Not in an executor: the kernel ends the zygote with the thread that spawned it.
                process = _popen(theirs.fileno(), complaints)
            zygote = cls(ours, os.pidfd_open(process.pid))
            zygote._process = process
            try:
                async with asyncio.timeout(_START_TIMEOUT_S):
                    ready, _ = await zygote._request({"t": "configure", "root": _ROOT, **settings})
            except (REPLError, TimeoutError) as e:
                await zygote.aclose()
                raise SandboxUnavailableError(_complaint(complaints)) from e
            except BaseException:
                await zygote.aclose()
                raise
        return zygote, ready

    async def fork_guest(self, frames: socket.socket, output: int) -> Forked:
        """Fork a guest with its ends of the frame socket and of the output pipe. Raises:
        REPLError: the zygote is gone or cannot fork.
        """
        return await self._fork({"t": "guest"}, [frames.fileno(), output])

    async def how_ended(self, pid: int) -> Death | None:
        """How a child that is gone has ended; None if that is not known, or this zygote is gone too."""
        try:
            answer, _ = await self._request({"t": "ended", "pid": pid})
        except REPLError:
            return None
        return None if answer["status"] is None else Death.of_status(answer["status"])

    async def fork_context(self, context: Context) -> HostZygote:
        """Fork a zygote that holds `context`, and wait until it does. Raises:
        REPLError: the context cannot be loaded, or this zygote is gone.
        """
        assert context.fd is not None
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                forked = await self._fork({"t": "context"}, [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        zygote = HostZygote(ours, forked.pidfd)
        # To the new zygote alone: the base, of which guests of other contexts are forked, never sees even a name.
        parts = [[part.name, part.start, part.end] for part in context.parts]
        try:
            await zygote._request({"t": "hold", "kind": context.kind, "parts": parts}, [context.fd])
        except BaseException:
            await zygote.aclose()
            raise
        return zygote

    async def aclose(self) -> None:
        """Kill it, and with it all that it forked, and wait until it is gone; idempotent."""
        if self.is_alive:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._ended.wait()
        self._control.close()

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._ended.set()
        if self._process is not None:
            self._process.wait()

    async def _fork(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> Forked:
        """A caller that is cancelled leaves no half-answered request: what was forked ends as its sockets close."""
        kept = [os.dup(descriptor) for descriptor in descriptors]
        request = asyncio.create_task(self._request(message, kept))
        request.add_done_callback(lambda _task: _close_all(kept))
        try:
            answer, received = await asyncio.shield(request)
        except asyncio.CancelledError:
            request.add_done_callback(_discard)
            raise
        return Forked(pid=answer["pid"], pidfd=received[0])

    async def _request(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> tuple[Any, list[int]]:
        async with self._lock:
            try:
                frame = pack(message)
                sent = socket.send_fds(self._control, [frame], list(descriptors))
                await asyncio.get_running_loop().sock_sendall(self._control, memoryview(frame)[sent:])
                return await self._answer()
            except OSError as e:
                raise REPLError(f"the zygote has ended ({e.strerror})") from e

    async def _answer(self) -> tuple[Any, list[int]]:
        header, descriptors = await self._receive_header()
        payload = await self._receive(unpack_header(header))
        answer = unpack(payload)
        if answer["t"] == "failed":
            raise REPLError(answer["message"])
        return answer, descriptors

    async def _receive_header(self) -> tuple[bytes, list[int]]:
        await readable(self._control.fileno())
        space = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        header, ancillary, _flags, _address = self._control.recvmsg(HEADER.size, space, socket.MSG_CMSG_CLOEXEC)
        descriptors = array.array("i")
        for _level, _kind, packed in ancillary:
            descriptors.frombytes(packed)
        header += await self._receive(HEADER.size - len(header))
        return header, list(descriptors)

    async def _receive(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        received = b""
        while len(received) < size:
            piece = await loop.sock_recv(self._control, size - len(received))
            if not piece:
                raise REPLError("the zygote has ended")
            received += piece
        return received


def _popen(control: int, complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    bootstrap = _BOOTSTRAP.format(root=_ROOT, fd=control, pid=os.getpid())
    return subprocess.Popen(  # noqa: S603 - this interpreter, with nothing from outside
        # As -I would, but for the environment, of which one variable is wanted and no other given.
        [sys.executable, "-s", "-P", "-X", "utf8", "-c", bootstrap],
        env={**_SET_ENVIRONMENT, **{name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        pass_fds=(control,),
        start_new_session=True,
    )


def _complaint(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read(100_000).decode("utf-8", "replace").strip().splitlines()
    last = lines[-1] if lines else "it said nothing"
    return f"the local sandbox does not start with {sys.executable}: {last}"


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _discard(request: asyncio.Task[tuple[Any, list[int]]]) -> None:
    if not request.cancelled() and request.exception() is None:
        _close_all(request.result()[1])
