"""Stands between this package and a command it starts, so that nothing of the command outlives its host.

It runs as a script, in an interpreter that does nothing else, and leads the command's process group. When the host
dies, however it dies, the kernel tells it, and it ends the group: a signal to clean up first, such as lock files, and
soon the one that kills. When the command ends, so does what is left of the group, and its exit code is passed on. It
reads nothing of what the two say to each other.
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
"""The exit code of a command that isn't there, and of one that can't be run."""


def main() -> NoReturn:
    """Run `argv[2:]` until it ends or the process `argv[1]` does."""
    host, command = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _kill_group)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != host:  # it died before the kernel was asked
        _kill_group()
    child = _started(command)
    _let_go(0, 1, 2)
    _, status = os.waitpid(child, 0)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:  # it was ended; what is left is not waited for
        _kill_group()
    code = os.waitstatus_to_exitcode(status)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    sys.exit(code if code >= 0 else 128 - code)


def _started(command: list[str]) -> int:
    """Its process id; from here on, the end of the host ends it too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # no moment in which it runs and isn't told
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


def _let_go(*descriptors: int) -> None:
    """The pipes are the command's alone, so that its end is seen at once."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


if __name__ == "__main__":
    main()
