"""Seccomp: the system calls that a guest may make; every other one fails with EPERM.

There is no socket call at all, no exec, no fork, no signal to anyone. A filter for a foreign architecture, or x32,
kills. The tables hold what CPython, its standard library and numpy need for computing; widen them with care.

Source: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import platform
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rlm.repl.guest import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

Instruction: TypeAlias = "tuple[int, int, int, int]"

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x40000000

_CLONE_THREAD = (0x00000100, 0x00000200, 0x00000400, 0x00000800, 0x00010000)
"""VM, FS, FILES, SIGHAND, THREAD, as `pthread_create` passes them: without FILES, a thread has descriptors of its own,
and no limit counts them all."""
_CLONE_NEW_ANY = 0x7E020000
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_FCNTLS = (0, 1, 2, 3, 4, 1030, 1032)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ: F_SETOWN could signal the host."""

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One architecture's numbers."""

    audit: int
    """What the kernel calls the architecture in `seccomp_data.arch`."""
    allowed: Mapping[str, int]
    clone: int
    ioctl: int
    fcntl: int
    prlimit64: int
    clone3: int = 435
    x32: bool = False


X86_64 = Table(
    audit=0xC000003E, clone=56, ioctl=16, fcntl=72, prlimit64=302, x32=True,
    allowed={
        "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
        "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20, "access": 21, "pipe": 22, "select": 23,
        "sched_yield": 24, "mremap": 25, "msync": 26, "madvise": 28, "dup": 32, "dup2": 33, "pause": 34,
        "nanosleep": 35, "getitimer": 36, "alarm": 37, "setitimer": 38, "getpid": 39, "exit": 60, "uname": 63,
        "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99,
        "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110,
        "rt_sigpending": 127, "rt_sigtimedwait": 128, "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202,
        "sched_getaffinity": 204, "getdents64": 217, "set_tid_address": 218, "restart_syscall": 219,
        "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "epoll_wait": 232,
        "epoll_ctl": 233, "openat": 257, "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "pselect6": 270,
        "ppoll": 271, "set_robust_list": 273, "epoll_pwait": 281, "epoll_create1": 291, "dup3": 292, "pipe2": 293,
        "getrandom": 318, "membarrier": 324, "statx": 332, "rseq": 334, "close_range": 436, "faccessat2": 439,
    },
)  # fmt: skip

AARCH64 = Table(
    audit=0xC00000B7, clone=220, ioctl=29, fcntl=25, prlimit64=261,
    allowed={
        "getcwd": 17, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "dup": 23, "dup3": 24, "faccessat": 48,
        "openat": 56, "close": 57, "pipe2": 59, "getdents64": 61, "lseek": 62, "read": 63, "write": 64, "readv": 65,
        "writev": 66, "pread64": 67, "pselect6": 72, "ppoll": 73, "readlinkat": 78, "newfstatat": 79, "fstat": 80,
        "exit": 93, "exit_group": 94, "set_tid_address": 96, "futex": 98, "set_robust_list": 99, "nanosleep": 101,
        "getitimer": 102, "setitimer": 103, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115,
        "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132,
        "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigpending": 136, "rt_sigtimedwait": 137,
        "rt_sigreturn": 139, "times": 153, "uname": 160, "getrlimit": 163, "getrusage": 165, "gettimeofday": 169,
        "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "gettid": 178,
        "sysinfo": 179, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "msync": 227,
        "madvise": 233, "getrandom": 278, "membarrier": 283, "statx": 291, "rseq": 293, "close_range": 436,
        "faccessat2": 439,
    },
)  # fmt: skip

TABLES: Mapping[str, Table] = {"x86_64": X86_64, "aarch64": AARCH64, "arm64": AARCH64}


def build() -> bytes:
    """The filter for this machine, as BPF instructions. Raises:
    OSError: this architecture has no table.
    """
    machine = platform.machine()
    if machine not in TABLES:
        raise OSError(_ENOSYS, f"no table of system calls for {machine}")
    return assemble(TABLES[machine])


def assemble(table: Table) -> bytes:
    """The filter for one architecture."""
    program = _architecture_check(table)
    for number in table.allowed.values():
        program += _when(number, [_give(_ALLOW)])
    program += _when(table.clone, _clone_rule())
    program += _when(table.clone3, [_give(_FAIL | _ENOSYS)])  # libc then falls back to clone
    program += _when(table.ioctl, _argument_rule(1, _IOCTLS))
    program += _when(table.fcntl, _argument_rule(1, _FCNTLS))
    program += _when(table.prlimit64, _argument_rule(0, (0,)))  # of this process only
    program.append(_give(_FAIL | _EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def install(program: bytes) -> None:
    """Bind this process by the filter, for good; it must have one thread and no_new_privs."""

    class FilterProgram(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    buffer = ctypes.create_string_buffer(program, len(program))
    header = FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    kernel.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header))


def _give(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _load_argument(index: int) -> Instruction:
    return _load(_ARGUMENTS_AT + 8 * index)  # the low half; both architectures are little-endian


def _when(number: int, block: list[Instruction]) -> list[Instruction]:
    """Run `block`, which returns, for one system call."""
    return [(_JUMP_EQUAL, 0, len(block), number), *block]


def _architecture_check(table: Table) -> list[Instruction]:
    program = [_load(_ARCHITECTURE_AT), (_JUMP_EQUAL, 1, 0, table.audit), _give(_KILL), _load(_NUMBER_AT)]
    if table.x32:
        program += [(_JUMP_AT_LEAST, 0, 1, _X32_BIT), _give(_KILL)]
    return program


def _clone_rule() -> list[Instruction]:
    block = [_load_argument(0), (_JUMP_ANY_BIT, len(_CLONE_THREAD) + 1, 0, _CLONE_NEW_ANY)]
    for left, flag in zip(range(len(_CLONE_THREAD), 0, -1), _CLONE_THREAD, strict=True):
        block.append((_JUMP_ANY_BIT, 0, left, flag))
    return [*block, _give(_ALLOW), _give(_FAIL | _EPERM)]


def _argument_rule(index: int, values: tuple[int, ...]) -> list[Instruction]:
    block = [_load_argument(index)]
    for value in values:
        block += [(_JUMP_EQUAL, 0, 1, value), _give(_ALLOW)]
    return [*block, _give(_FAIL | _EPERM)]
