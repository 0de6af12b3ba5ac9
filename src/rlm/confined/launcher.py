"""Starts the small server of `rlm.confined.server` and makes calls through it, from any thread."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rlm.confined.frames import DONE, FAILED, LENGTH, PIECE, STATUS_BYTES, read_exactly, received
from rlm.processes.worker import python_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rlm.core.types import Json

_PACKAGE = Path(__file__).parents[1]
_GONE = "the process that reads it ended"


class CallFailed(Exception):
    """A confined call gave no whole result; says why, in words about what it read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinedCall:
    """A function of this package that is to be called in a confined process: it gets open files, and yields pieces."""

    target: str
    """`module:function`."""
    arguments: Mapping[str, Json] = field(default_factory=dict)
    preload: Sequence[str] = ()
    """Packages that the server imports before it forks."""
    readable: Sequence[str] = ()
    """Paths that the process may read beside what Python itself needs."""
    memory_bytes: int = 1 << 30
    timeout_s: float = 60.0


class ConfinedServer:
    """The server, started with the first call; use it in a `with`, or close it."""

    def __init__(self) -> None:
        self._calling = threading.Lock()
        self._starting = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._closed = False

    def __enter__(self) -> ConfinedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, call: ConfinedCall, files: Sequence[int] = ()) -> Iterator[Json]:
        """Make a call, with up to three open files; yields the pieces of its result as they come. One call at a time.

        Raises:
            CallFailed: it ended before its result was whole; what was yielded may be part of one.
        """
        with self._calling:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            try:
                try:
                    control = self._connected()
                    payload = msgspec.json.encode(call)
                    socket.send_fds(control, [LENGTH.pack(len(payload))], [writing, *files])
                    control.sendall(payload)
                except OSError as error:
                    self.end_call()
                    raise CallFailed(_GONE) from error
                finally:
                    os.close(writing)
                yield from self._pieces(control, reading, call)
            finally:
                os.close(reading)  # a child that still writes ends by that

    def _pieces(self, control: socket.socket, reading: int, call: ConfinedCall) -> Iterator[Json]:
        said: tuple[bytes, bytes] | None = None
        try:
            for kind, content in received(reading):
                if kind != PIECE:
                    said = (kind, content)
                    break
                yield msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise CallFailed(_GONE) from error
        except GeneratorExit:
            self.end_call()  # and with it the child, which still writes
            raise
        how = _status(control)
        if not how:
            self.end_call()
        if said is not None and said[0] == DONE:
            return
        if said is not None and said[0] == FAILED:
            raise CallFailed(said[1].decode("utf-8", "replace"))
        if how == "time":
            raise CallFailed(f"it takes longer than {call.timeout_s:g} s")
        raise CallFailed(f"{_GONE}: {f'signal {how}' if how.isdigit() else 'it said nothing more'}")

    def _connected(self) -> socket.socket:
        with self._starting:
            if self._closed:
                raise CallFailed("it was closed meanwhile")
            if self._control is None:
                self._control, theirs = socket.socketpair()
                with theirs:
                    self._server = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                        python_command("rlm.confined.server", str(theirs.fileno()), str(_PACKAGE)),
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env={},
                        start_new_session=True,
                    )
            return self._control

    def close(self) -> None:
        """End the server, and with it a call in progress. Any thread may call this; idempotent."""
        self.end_call()
        self._closed = True

    def end_call(self) -> None:
        """End the call in progress; the next one starts the server anew. Any thread may call this."""
        with self._starting:
            control, server, self._control, self._server = self._control, self._server, None, None
        if control is not None:
            with suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)
            control.close()
        if server is not None:
            server.kill()
            server.wait()


def _status(control: socket.socket) -> str:
    """What the server says of how a call ended; empty where it is gone."""
    try:
        return read_exactly(control.recv, STATUS_BYTES).decode("ascii", "replace").strip()
    except OSError:  # the call was ended from elsewhere
        return ""
