"""A real `sshd` on this machine's loopback with throwaway keys: one for each process that runs tests, at first use.

Without a network and without the user's own ssh configuration: all that ssh needs is in the options.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rlm.core.config import SshConfig
from rlm.core.interfaces import Sandbox
from rlm.repl.guest import kernel
from rlm.repl.live import Limits
from rlm.repl.ssh.launcher import SSH

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
"""


_SHARED = "SSHD_OF_RLM_TESTS"
"""The variable that tells the processes of a test of the one that serves it: its folder, port and process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sshd:
    """One that runs, and its keys."""

    folder: Path
    port: int
    pid: int

    @property
    def options(self) -> tuple[str, ...]:
        """The options by which ssh gets in."""
        return (
            f"Port={self.port}",
            f"IdentityFile={self.folder}/user",
            "IdentitiesOnly=yes",
            f"UserKnownHostsFile={self.folder}/known_hosts",
            "GlobalKnownHostsFile=none",
        )

    def section(self, **settings: Any) -> SshConfig:
        """A section of the configuration for it."""
        return SshConfig(**{"host": "127.0.0.1", "options": self.options, "warm": 0, **settings})


def sandbox(limits: Limits, **settings: Any) -> Sandbox:
    """A sandbox on this machine, by ssh; not started."""
    return SSH.sandbox(sshd().section(**settings), limits)


@cache
def sshd() -> Sshd:
    """The one of this process, or of the test that started it."""
    if shared := os.environ.get(_SHARED):
        folder, port, pid = shared.rsplit(":", 2)
        return Sshd(folder=Path(folder), port=int(port), pid=int(pid))
    assert PROGRAM is not None
    made = Path(tempfile.mkdtemp(prefix="rlm-sshd-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    served = _serve(made, _free_port())
    os.environ[_SHARED] = f"{served.folder}:{served.port}:{served.pid}"
    atexit.register(os.environ.pop, _SHARED)
    return served


def _serve(folder: Path, port: int) -> Sshd:
    assert PROGRAM is not None
    for name in ("host", "user", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    key = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    (folder / "config").write_text(_CONFIG.format(port=port, folder=folder))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where its unprivileged half is kept
    parent = os.getpid()
    served = subprocess.Popen(
        [PROGRAM, "-D", "-e", "-f", folder / "config"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: kernel.die_with_parent(parent),
    )
    atexit.register(served.wait)
    atexit.register(served.kill)
    assert served.stderr is not None
    listening = next((line for line in served.stderr if "listening" in line), "")
    assert listening, "sshd ended"
    threading.Thread(target=served.stderr.read, daemon=True).start()  # it logs each connection
    return Sshd(folder=folder, port=port, pid=served.pid)


def far_processes(host: int) -> set[int]:
    """What the ssh processes below `host` have running at the other end."""
    ports = {port for pid in below(host) for port in _ports_of(pid)}
    marks = {f"SSH_CONNECTION=127.0.0.1 {port} " for port in ports}
    found: set[int] = set()
    for pid in below(sshd().pid):
        if any(mark in _environment(pid) for mark in marks):
            found |= {pid, *below(pid)}
    return found


def lines_of(host: int) -> set[int]:
    """The ssh processes below `host`, and nothing else that it has started."""
    return {pid for pid in below(host) if Path(f"/proc/{pid}/comm").read_text().strip() == "ssh"}


def servers_of(host: int) -> set[int]:
    """The processes of sshd that serve the ssh processes below `host`."""
    far = far_processes(host)
    return {pid for pid in below(sshd().pid) - far if below(pid) & far}


def opened_by(pid: int) -> set[str]:
    """What a process has open, as /proc names it."""
    with suppress(OSError):
        return {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return set()


def below(pid: int) -> set[int]:
    """All processes that a process of this machine has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for each in tasks for child in each.read_text().split()}
    return children.union(*map(below, children))


def _ports_of(pid: int) -> Iterator[int]:
    """The local ports of a process's connections."""
    links = opened_by(pid)
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in links:
                yield int(fields[1].split(":")[1], 16)


def _environment(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    return ""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
