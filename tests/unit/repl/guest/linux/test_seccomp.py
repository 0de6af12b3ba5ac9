"""The seccomp filters of both architectures, run by a small interpreter of the instructions they use."""

from __future__ import annotations

import struct

import pytest

from rlm.repl.guest.linux.seccomp import AARCH64, X86_64, Table, assemble

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
tables = pytest.mark.parametrize("table", [X86_64, AARCH64], ids=["x86-64", "arm64"])


def verdict(table: Table, number: int, *arguments: int, audit: int | None = None) -> int:
    program = list(struct.iter_unpack("=HBBI", assemble(table)))
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    memory = struct.pack("=IIQ6Q", number, table.audit if audit is None else audit, 0, *padded)
    at = value = 0
    while True:
        code, true, false, k = program[at]
        at += 1
        if code == 0x06:
            return int(k)
        if code == 0x20:
            (value,) = struct.unpack_from("=I", memory, k)
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += true if holds else false


@tables
def test_what_is_listed_is_allowed(table: Table) -> None:
    assert {verdict(table, number) for number in table.allowed.values()} == {ALLOW}


@tables
def test_what_is_not_listed_is_refused(table: Table) -> None:
    known = {*table.allowed.values(), table.clone, table.clone3, table.ioctl, table.fcntl, table.prlimit64}
    assert {verdict(table, number) for number in range(600) if number not in known} == {EPERM}


@tables
def test_clone_makes_threads_only(table: Table) -> None:
    assert verdict(table, table.clone, 0x3D0F00) == ALLOW  # as pthread_create calls it
    assert verdict(table, table.clone, 17) == EPERM  # as fork calls it
    for flag in (0x100, 0x200, 0x400, 0x800, 0x10000):  # a thread shares all: descriptors of its own escape the limit
        assert verdict(table, table.clone, 0x3D0F00 & ~flag) == EPERM
    assert verdict(table, table.clone, 0x3D0F00 | 0x10000000) == EPERM  # a new user namespace
    assert verdict(table, table.clone3, 0) == ENOSYS


@tables
def test_arguments_are_looked_at(table: Table) -> None:
    assert verdict(table, table.ioctl, 0, 0x5401) == ALLOW
    assert verdict(table, table.ioctl, 0, 0x5412) == EPERM  # TIOCSTI
    assert verdict(table, table.fcntl, 0, 3) == ALLOW
    assert verdict(table, table.fcntl, 0, 8) == EPERM  # F_SETOWN
    assert verdict(table, table.prlimit64, 0) == ALLOW
    assert verdict(table, table.prlimit64, 1) == EPERM


@tables
def test_another_architecture_kills(table: Table) -> None:
    assert verdict(table, table.allowed["read"], audit=0x40000003) == KILL


def test_x32_kills() -> None:
    assert verdict(X86_64, 0x40000000 | X86_64.allowed["read"]) == KILL


@tables
@pytest.mark.parametrize("name", ["socket", "execve", "sendmsg", "ptrace", "kill", "unshare", "memfd_create"])
def test_what_must_never_be_listed_is_not(table: Table, name: str) -> None:
    assert name not in table.allowed
