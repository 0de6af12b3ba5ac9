"""Stands between this package and a command it starts, so that nothing of the command outlives its host.

It runs as a script, in an interpreter that does nothing else, and leads the command's process group. When the host
dies, however it dies, the kernel tells the keeper, which ends the group: first with a signal that leaves time to clean
up (lock files, say), and a second later with one that kills. When the command ends, the keeper ends what is left of the
group and passes on the exit code. It reads nothing of what host and command say to each other.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_GRACE_S = 1.0
NOT_FOUND = 127
"""The exit code of a command that doesn't exist or can't be run."""


def main() -> NoReturn:
    """Run the command `argv[2:]` until it ends, or until the process with the id `argv[1]` does."""
    host, command = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _kill_group)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != host:  # the host died before the kernel was asked
        _kill_group()
    child = _start(command)
    _release(0, 1, 2)
    _, status = os.waitpid(child, 0)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:  # the group was ended: no more waiting
        _kill_group()
    code = os.waitstatus_to_exitcode(status)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    sys.exit(code if code >= 0 else 128 - code)


def _start(command: list[str]) -> int:
    """Start the command and return its process id; from now on it ends with the host."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # held back until the command can get it
    try:
        return os.posix_spawnp(
            command[0], command, os.environ, setsigdef=(signal.SIGINT, signal.SIGPIPE), setsigmask=()
        )
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        sys.exit(NOT_FOUND)
    finally:
        signal.signal(signal.SIGTERM, _end_group)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _end_group(*_signal: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    signal.setitimer(signal.ITIMER_REAL, _GRACE_S)


def _kill_group(*_signal: object) -> None:
    os.killpg(0, signal.SIGKILL)


def _release(*descriptors: int) -> None:
    """Leave the pipes to the command alone, so that whoever reads them sees at once that it has ended."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


if __name__ == "__main__":
    main()
