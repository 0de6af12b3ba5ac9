"""A line through the user's own `ssh`: keys, agents, jump hosts and known hosts are the user's, and it asks nothing.

It makes no forwarding and no terminal, and never accepts the key of a host that it doesn't know.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
from typing import TYPE_CHECKING

from rlm.core.exceptions import SandboxUnavailableError
from rlm.repl.remote.line import End

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.config import SshConfig
    from rlm.repl.remote.line import FarLine, Listener

_FIXED = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "RemoteCommand=none",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "LogLevel=INFO",
)
"""ssh takes the first value that it meets, so neither the settings nor the user's files change these. A master would be
left running."""
_SSH_FAILED = 255
_NOT_FOUND = 127
_KILLED = 137
_SAID_BYTES = 4000
_UNREAD_BYTES = 1 << 20
"""How many bytes of answers a guest may leave unread before the host reads no more from it."""
_ADVICE = {
    "IDENTIFICATION HAS CHANGED": "it has another key than the one in known_hosts: find out why before you change that",
    "Host key verification failed": "log in once by hand, and compare the key that it shows: ssh {host}",
    "Permission denied": "ssh must log in without asking: load the key into an agent, or name it in ssh_config",
}
"""What to do about what ssh says, the first that fits."""


class SshConnector:
    """Implements `Connector`: each far process has an ssh of its own."""

    as_text = False

    def __init__(self, host: str, options: Sequence[str]) -> None:
        self._host = host
        fixed = [word for option in (*_FIXED, *options) for word in ("-o", option)]
        self._start = ("ssh", "-T", "-a", "-x", "-e", "none", *fixed, "--", host)
        self.far = f"the host {host}"

    @property
    def is_alive(self) -> bool:
        """A host that can't be reached may be back for the next line."""
        return True

    @classmethod
    def of(cls, section: SshConfig, host: str) -> SshConnector:
        """The connector of a section of the configuration."""
        return cls(host, section.options)

    async def connect(self, command: Sequence[str], listener: Listener) -> FarLine:
        """Start an ssh that runs the command there; whether it gets there, the listener is told."""
        if shutil.which("ssh") is None:
            raise SandboxUnavailableError("there is no program ssh here\ninstall OpenSSH's client")
        _transport, line = await asyncio.get_running_loop().subprocess_exec(
            lambda: SshLine(listener, self._host),
            *self._start,
            f"exec {shlex.join(command)}",
            start_new_session=True,  # an interrupt at the terminal is not for it
        )
        return line

    async def aclose(self) -> None:
        """Nothing is common to its lines."""


class SshLine(asyncio.SubprocessProtocol):
    """Implements `FarLine` over one ssh process."""

    def __init__(self, listener: Listener, host: str) -> None:
        self._listener = listener
        self._host = host
        self._process: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._said = b""
        self._has_begun = False

    # As a FarLine.

    def write(self, piece: bytes) -> None:
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(piece)

    def unsent_bytes(self) -> int:
        return 0 if self._stdin is None else self._stdin.get_write_buffer_size()

    def heard(self, total_bytes: int) -> None:
        """ssh holds the writer up by itself."""

    def pause_reading(self) -> None:
        if (stdout := self._stdout()) is not None:
            stdout.pause_reading()

    def resume_reading(self) -> None:
        if (stdout := self._stdout()) is not None:
            stdout.resume_reading()

    def close(self) -> None:
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.abort()

    def abort(self) -> None:
        if self._process is not None and self._process.get_returncode() is None:
            self._process.kill()

    def _stdout(self) -> asyncio.ReadTransport | None:
        found = None if self._process is None else self._process.get_pipe_transport(1)
        return found if isinstance(found, asyncio.ReadTransport) and not found.is_closing() else None

    # As a SubprocessProtocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._process = transport
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        stdin.set_write_buffer_limits(high=_UNREAD_BYTES)
        self._stdin = stdin

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            if not self._has_begun:  # what ssh said until then is no reason for an end
                self._has_begun, self._said = True, b""
            self._listener.received(data)
        else:
            self._said = (self._said + data)[-_SAID_BYTES:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        if fd == 0:
            self._stdin = None

    def pause_writing(self) -> None:
        self._listener.pause_writing()

    def resume_writing(self) -> None:
        self._listener.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        assert self._process is not None
        code = self._process.get_returncode()
        self._process.close()
        said = self._said.decode("utf-8", "replace").strip()
        if code == _SSH_FAILED:  # its own, or that of a far process that a signal ended, of which it says nothing
            code = _KILLED if self._has_begun and not said else None
        self._listener.line_ended(End(words=self._told(code, said), code=code))

    def _told(self, code: int | None, said: str) -> str:
        """What to say of a far process that did not begin."""
        if code == _NOT_FOUND:
            return (
                f"the host {self._host} does not find its Python: {said}\n"
                "install Python 3.11 or later there, or name its command by ssh.python"
            )
        by_hand = f"try it by hand: ssh -o BatchMode=yes {self._host} true"
        advice = next((text for mark, text in _ADVICE.items() if mark in said), by_hand)
        said = said or ("it ended without a word" if code is None else f"it ended with exit code {code}")
        return f"the host {self._host}: {said}" + (f"\n{advice.format(host=self._host)}" if code is None else "")
