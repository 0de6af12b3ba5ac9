"""Who a container belongs to, so that what a killed host left can be told from what a living one uses.

Only a host of this machine, since its last start, and of this namespace of process ids can be judged; every other one
is taken to be alive.
"""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL = "rlm.owner"
_PID, _STARTED, _MACHINE = "rlm.host.pid", "rlm.host.started", "rlm.host.machine"
_START_FIELD = 19
"""The place of the start time among the fields after the state in /proc/PID/stat; proc(5) counts it as the 22nd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One sandbox of one host process."""

    id: str
    pid: int
    started: str
    """When the process started, in ticks since the machine did: process ids are used again."""
    machine: str
    """The boot id and the process namespace; empty without /proc, and then no owner is taken to be gone."""

    @classmethod
    def here(cls) -> Owner:
        """A new owner in this process."""
        pid = os.getpid()
        return cls(id=secrets.token_hex(8), pid=pid, started=_started(pid) or "", machine=_machine())

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Owner | None:
        """The owner that labels name; None if they are not whole."""
        try:
            pid = int(labels[_PID])
            return cls(id=labels[LABEL], pid=pid, started=labels[_STARTED], machine=labels[_MACHINE])
        except (KeyError, ValueError):
            return None

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the containers that it makes."""
        return {LABEL: self.id, _PID: str(self.pid), _STARTED: self.started, _MACHINE: self.machine}

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended for certain."""
        if not self.machine or self.machine != _machine():
            return False
        started = _started(self.pid)
        return _has_ended(self.pid) if started is None else started != self.started


def _has_ended(pid: int) -> bool:
    """Whether a process has ended for certain: /proc may merely hide it, as a process of another user."""
    try:
        os.kill(pid, 0)
    except OSError as e:
        return e.errno == errno.ESRCH
    return False


def _started(pid: int) -> str | None:
    """When a process started, in ticks; None where that can't be seen, empty if it has ended and waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[_START_FIELD - 1]


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
