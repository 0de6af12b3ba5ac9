"""The local sandbox where the system withholds a layer: in containers, on old kernels."""

from __future__ import annotations

import asyncio
import platform
import sys

import pytest

from rlm.repl.guest.linux.seccomp import TABLES

HOST = """
import asyncio, os, struct, sys
from rlm.core.contexts.context import Context
from rlm.core.exceptions import SandboxUnavailableError
from rlm.core.types import ReplSpec
from rlm.runtime.inputs import prepare
from rlm.repl.guest import kernel\nfrom rlm.repl.guest.linux import seccomp
from rlm.core.config import LocalConfig
from rlm.repl.local.launcher import LOCAL

def withhold(number, argument, errno):
    "Make one system call fail from here on, or prctl with one first argument."
    checks = [(0x20, 0, 0, 0), (0x15, 0, 1, number)]
    if argument >= 0:
        checks = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, argument)]
    program = [*checks, (6, 0, 0, 0x50000 | errno), (6, 0, 0, 0x7FFF0000)]
    kernel.set_no_new_privileges()
    seccomp.install(b"".join(struct.pack("=HBBI", *i) for i in program))

async def main(unconfined):
    sandbox = LOCAL.sandbox(LocalConfig(policy="off", allow_unconfined=unconfined))
    try:
        repl = await sandbox.open(prepare("text"), ReplSpec(call=None))
        print((await repl.execute("context")).output.strip())
        print(*(f"{name}={'missing' if text.startswith('missing') else 'held'}" for name, text in repl.report.items()))
    except SandboxUnavailableError as e:
        print(e)
    await sandbox.aclose()

withhold(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
asyncio.run(main(sys.argv[4] == "unconfined"))
"""
UNSHARE = {"x86_64": 272, "aarch64": 97, "arm64": 97}
PRCTL = {"x86_64": 157, "aarch64": 167, "arm64": 167}
MACHINE = platform.machine()
NO_NAMESPACES = (UNSHARE[MACHINE], -1, 1)
NO_LANDLOCK = (444, -1, 38)
NO_SECCOMP = (PRCTL[MACHINE], 22, 22)


async def run_host(withheld: tuple[int, int, int], mode: str) -> str:
    arguments = [sys.executable, "-c", HOST, *map(str, withheld), mode]
    host = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    printed, _ = await host.communicate()
    assert host.returncode == 0
    return printed.decode()


def test_this_machine_has_a_table() -> None:
    assert MACHINE in TABLES


async def test_without_namespaces_the_required_layers_hold() -> None:
    printed = await run_host(NO_NAMESPACES, "confined")
    assert "'text'" in printed
    assert "landlock=held seccomp=held" in printed
    assert "namespaces=missing" in printed


@pytest.mark.parametrize(("withheld", "name"), [(NO_LANDLOCK, "landlock"), (NO_SECCOMP, "seccomp")])
async def test_without_a_required_layer_it_refuses_and_says_what_to_do(
    withheld: tuple[int, int, int], name: str
) -> None:
    printed = await run_host(withheld, "confined")
    assert "cannot confine" in printed
    assert f"({name}: " in printed
    assert "allow_unconfined" in printed


@pytest.mark.parametrize(("withheld", "name"), [(NO_LANDLOCK, "landlock"), (NO_SECCOMP, "seccomp")])
async def test_the_user_may_accept_a_missing_layer(withheld: tuple[int, int, int], name: str) -> None:
    printed = await run_host(withheld, "unconfined")
    assert "'text'" in printed
    assert f"{name}=missing" in printed
