"""The Unix socket of one process that makes runs, both ends: a line of JSON is asked, a line of JSON is the answer.

Sockets lie in a folder that only their user can enter, each readable by that user alone; those that a killed process
left are swept by whoever finds them. A path of any length works, for each is reached through its folder's descriptor.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rlm.core.config.files import user_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

LINE_BYTES = 1 << 20
"""The longest line that is asked."""
ANSWER_BYTES = 64 << 20
"""The longest answer."""
READ_S = 10.0
"""How long a connection may take to ask, in seconds."""
ANSWER_S = 5.0
"""How long a process may take to answer, in seconds."""
_BACKLOG = 128
_SUFFIX = ".sock"


def socket_folder(environ: Mapping[str, str]) -> Path | None:
    """The folder of the sockets of this user; None where there is no home."""
    state = user_folder(environ, "XDG_STATE_HOME", ".local/state")
    return None if state is None else state / "ctl"


class ControlSocket:
    """The socket of this process, open."""

    def __init__(self, path: Path, answer: Callable[[bytes], bytes]) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, folder: Path, answer: Callable[[bytes], bytes]) -> ControlSocket:
        """Listen in `folder`, which is made if need be, and answer each line.

        Raises:
            OSError: it can't be opened there.
        """
        made = cls(folder / f"{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}", answer)
        listening = made._listening()
        # Where nobody closes it before its loop ends; at the end of the process it is closed with its RLM.
        weakref.finalize(made, listening.close).atexit = False
        made._server = await asyncio.start_unix_server(made._serve, sock=listening, limit=LINE_BYTES)
        return made

    async def aclose(self) -> None:
        """Stop listening, and remove the socket; idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self._path.unlink(missing_ok=True)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _listening(self) -> socket.socket:
        """The socket, with its name only once it listens: until then others would take it for one that was left."""
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _inside(folder) as inside:
                name = f"{self._path.name}.new"
                listening.bind(f"{inside}/{name}")
                os.chmod(f"{inside}/{name}", 0o600)  # noqa: PTH101 - by the folder's descriptor
                listening.listen(_BACKLOG)
                os.rename(f"{inside}/{name}", f"{inside}/{self._path.name}")  # noqa: PTH104 - as above
        except BaseException:
            listening.close()
            raise
        listening.setblocking(False)
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if _is_own(writer.get_extra_info("socket")):
                await self._answer_lines(reader, writer)
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError):
            return  # gone, too long, or closing: nobody is left to be told
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(READ_S):
                line = await reader.readline()
            if not line.endswith(b"\n"):
                return
            writer.write(self._answer(line))
            async with asyncio.timeout(READ_S):
                await writer.drain()


async def ask_all(folder: Path, line: bytes) -> list[bytes]:
    """The answers of all processes that listen in `folder`; those that don't answer in time are left out."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX))  # noqa: PTH208 - names alone
    except OSError:
        return []
    answers = await asyncio.gather(*(_ask(folder, name, line) for name in names))
    return [answer for answer in answers if answer is not None]


async def _ask(folder: Path, name: str, line: bytes) -> bytes | None:
    try:
        async with asyncio.timeout(ANSWER_S):
            with _inside(folder) as inside:
                reader, writer = await asyncio.open_unix_connection(f"{inside}/{name}", limit=ANSWER_BYTES)
            try:
                writer.write(line + b"\n")
                return await reader.readline() or None
            finally:
                writer.close()
    except ConnectionRefusedError:  # a socket that nobody listens on any more
        with suppress(OSError):
            (folder / name).unlink()
        return None
    except (OSError, ValueError, TimeoutError):
        return None


@contextmanager
def _inside(folder: Path) -> Iterator[str]:
    """A short path of the folder, which has to be this user's own.

    Raises:
        OSError: it is not, or isn't there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user")
        if stat.S_IMODE(about.st_mode) & 0o077:
            os.fchmod(descriptor, 0o700)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _is_own(connection: socket.socket) -> bool:
    """Whether the other end is this user, or root."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return uid in (0, os.geteuid())
