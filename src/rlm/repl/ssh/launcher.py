"""The sandbox `ssh`: each REPL is a confined process on a host of the user's, reached by the user's own ssh.

Nothing is installed there, and nothing is written to its files: it needs Python 3.11 or later.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.repl.remote.launcher import FarPlan, RemoteLauncher
from rlm.repl.sandbox import Kind, Probe
from rlm.repl.ssh.line import SshConnector

if TYPE_CHECKING:
    from rlm.core.config import SshConfig

_HINT = 'name a host that you can log in to without being asked: [ssh] host = "NAME", or ssh.host'
_MISSING = "the Python on the host of the sandbox has no such package; the user can install it there"


async def _start(section: SshConfig) -> RemoteLauncher:
    """Log in, and start a first guest; see `Kind.start`."""
    if section.host is None:
        raise ConfigError(f"the sandbox ssh has no host\n{_HINT}")
    plan = FarPlan(
        name="ssh",
        python=section.python,
        memory_bytes=section.memory_bytes,
        lease_s=section.lease_s,
        allow_unconfined=section.allow_unconfined,
        warm=section.warm,
        missing=_MISSING,
    )
    return await RemoteLauncher.start(SshConnector.of(section, section.host), plan)


async def _probe(section: SshConfig) -> Probe:
    """Look for the program and the setting; logs in nowhere."""
    program = shutil.which("ssh")
    if program is None:
        return Probe(ok=False, detail="there is no program ssh here", hint="install OpenSSH's client")
    if section.host is None:
        return Probe(ok=False, detail="it has no host", hint=_HINT)
    return Probe(ok=True, detail=f"{await asyncio.to_thread(_version, program)}; host {section.host}")


def _version(program: str) -> str:
    ran = subprocess.run([program, "-V"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - found in the PATH
    return ran.stderr.strip()


SSH = Kind(name="ssh", section=lambda config: config.ssh, start=_start, probe=_probe)
