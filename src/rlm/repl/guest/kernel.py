"""The few Linux calls that confinement needs and Python lacks, by ctypes; no policy stands here.

Importing it is safe on any platform: nothing is looked up in libc before a function is called.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from functools import cache

NEW_USER = 0x10000000
NEW_PID = 0x20000000
NEW_NET = 0x40000000
NEW_IPC = 0x08000000

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_M_ARENA_MAX = -8


@cache
def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """Return `result` unless it reports failure. Raises:
    OSError: with errno and `what`.
    """
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """Make a system call that libc has no function for."""
    return check(libc().syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def prctl(option: int, *arguments: int) -> None:
    """Make a `prctl` call; missing arguments are 0."""
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    check(libc().prctl(option, *padded), f"prctl {option}")


def unshare(flags: int) -> None:
    """Move this process, which must have one thread, into new namespaces."""
    check(libc().unshare(flags), "unshare")


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent goes; end at once if it is gone already.

    A change of credentials resets this, so it comes after them.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def adopt_orphans() -> None:
    """Make this process the parent of all below it whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_undumpable() -> None:
    """No core dump, and no other process of this user may trace or read this one."""
    prctl(_PR_SET_DUMPABLE, 0)


def prefer_as_victim() -> None:
    """Where memory runs out, the kernel should end sandboxes, not their host: a hint, for limits bound the memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as adjusted:
        adjusted.write("1000")


def set_no_new_privileges() -> None:
    """No later exec can gain privileges; Landlock and seccomp require it."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability, in every set."""
    _drop_bounding()
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    check(libc().capset(ctypes.byref(header), ctypes.byref(nothing)), "capset")


def _drop_bounding() -> None:
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # beyond the last one this kernel knows, or nothing here to drop
            return


def limit_arenas() -> None:
    """Keep glibc from reserving 64 MiB of address space per thread, which RLIMIT_AS would count."""
    if hasattr(libc(), "mallopt"):
        libc().mallopt(_M_ARENA_MAX, 1)
