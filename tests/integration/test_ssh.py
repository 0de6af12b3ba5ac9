"""REPLs on a host that is reached by ssh: nothing stays there, a line may be lost, and what can't work is said."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, SandboxUnavailableError
from rlm.core.interfaces import Sandbox
from rlm.repl import load
from rlm.repl.live import Limits
from rlm.runtime.inputs import prepare
from rlm.testing.openers import shown
from tests.support import sshd
from tests.support.engines import SPEC
from tests.support.required import needs

pytestmark = needs("ssh")

HOST = """
import asyncio, sys
from rlm.core.types import ReplSpec
from rlm.repl.live import Limits
from rlm.runtime.inputs import prepare
from tests.support import sshd

async def main():
    sandbox = sshd.sandbox(Limits(), warm=1, python=sys.argv[1])
    async def call(name, args, kwargs):
        print("running", flush=True)
        await asyncio.Event().wait()
    repl = await sandbox.open(prepare("held " * 20_000), ReplSpec(call=call, functions=("tell",)))
    await repl.execute("import threading\\ndef spin():\\n    while True: pass\\n"
                       "threading.Thread(target=spin).start()\\ntell()")

asyncio.run(main())
"""
"""A host with a guest that spins, a warm one, and a held context."""
GONE_S = 5.0


@asynccontextmanager
async def opened(limits: Limits | None = None, **settings: Any) -> AsyncIterator[Sandbox]:
    running = sshd.sandbox(limits or Limits(), **settings)
    try:
        yield running
    finally:
        await running.aclose()


def program(folder: Path, *lines: str) -> str:
    """A command at the other end that does something, then runs Python."""
    path = folder / "python"
    path.write_text("\n".join(("#!/bin/sh", *lines)))
    path.chmod(0o755)
    return str(path)


def without_namespaces(folder: Path) -> str:
    """A Python on a system that permits no new user namespaces."""
    refuse = 'echo 0 > /proc/sys/user/max_user_namespaces; exec python3 "$@"'
    return program(folder, f"exec unshare --user --map-root-user sh -c '{refuse}' python \"$@\"")


async def until_gone(pids: set[int]) -> None:
    async with asyncio.timeout(GONE_S):
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("confined", [True, False], ids=["namespaces", "process group"])
async def test_killing_the_host_leaves_nothing_at_either_end(confined: bool, tmp_path: Path) -> None:
    python = "python3" if confined else without_namespaces(tmp_path)
    sshd.sshd()
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, python, stdout=asyncio.subprocess.PIPE, env=environ
    )
    assert host.stdout is not None
    assert await host.stdout.readline() == b"running\n"
    left = sshd.far_processes(host.pid) | sshd.below(host.pid)
    assert len(left) >= 6
    host.kill()
    await host.wait()
    await until_gone(left)


async def test_a_line_that_falls_silent_is_given_up_at_both_ends() -> None:
    async with opened(Limits(grace_s=0.2), lease_s=2) as running:
        repl = await running.open(prepare("text"), SPEC)
        far = sshd.far_processes(os.getpid())
        for line in sshd.lines_of(os.getpid()):
            os.kill(line, signal.SIGSTOP)
        result = await repl.execute("import time\ntime.sleep(60)")
        assert result.error is not None
        assert "the connection to the machine of the sandbox was lost" in result.error.message
        await until_gone(far)
        assert shown(await repl.execute("context")) == "'text'"


async def test_a_lost_line_and_a_killed_process_are_told_apart() -> None:
    async with opened() as running:
        repl = await running.open(prepare(None), SPEC)
        for name, words in (("sshd", "the connection to the machine"), ("python", "ended by SIGKILL")):
            assert shown(await repl.execute("1 + 1")) == "2"
            far = sshd.far_processes(os.getpid())
            running_cell = asyncio.create_task(repl.execute("import time\ntime.sleep(60)"))
            await asyncio.sleep(0)
            for pid in sshd.servers_of(os.getpid()) if name == "sshd" else far:
                with suppress(ProcessLookupError):  # it may have ended with another one
                    os.kill(pid, signal.SIGKILL)
            result = await running_cell
            assert result.error is not None
            assert words in result.error.message, name
            assert result.state_reset
        assert shown(await repl.execute("1 + 1")) == "2"


async def test_a_large_context_is_sent_once_for_all_and_is_given_up_with_the_last() -> None:
    context = prepare("large " * 50_000)
    async with opened() as running:
        repls = [await running.open(context, SPEC) for _ in range(2)]
        assert [shown(await repl.execute("len(context)")) for repl in repls] == ["300000"] * 2
        far = sshd.far_processes(os.getpid())
        holding = [pid for pid in far if any("memfd:context" in link for link in sshd.opened_by(pid))]
        assert len(holding) == 1
        for repl in repls:
            await repl.aclose()
        await until_gone(set(holding))
    await until_gone(far)


async def test_what_a_far_shell_prints_first_is_no_harm(tmp_path: Path) -> None:
    noisy = program(tmp_path, "echo Welcome to this host", "echo and to its errors >&2", 'exec python3 "$@"')
    async with opened(python=noisy) as running:
        repl = await running.open(prepare(None), SPEC)
        assert shown(await repl.execute("print('hello')")) == "hello"


async def test_a_host_without_namespaces_is_confined_by_the_rest_and_says_so(tmp_path: Path) -> None:
    async with opened(python=without_namespaces(tmp_path)) as running:
        await running.start()
        assert {"landlock", "seccomp", "process group", "lease"} <= set(running.traits.layers)
        assert "namespaces" not in running.traits.layers


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"options": (f"UserKnownHostsFile={os.devnull}",)}, "log in once by hand, and compare"),
        ({"options": ("UserKnownHostsFile={folder}/changed",)}, "find out why before"),
        (
            {"options": ("IdentityFile={folder}/other", "UserKnownHostsFile={folder}/known_hosts")},
            "ssh must log in without asking",
        ),
        ({"options": ("Port=9",)}, "refused"),
        ({"host": "no-such-host.invalid"}, "no-such-host.invalid"),
        ({"options": ("NoSuchOption=1",)}, "nosuchoption"),
        ({"python": "no-such-python"}, "ssh.python"),
        ({"python": "{folder}/old"}, "Python 3.9 is too old; 3.11 or later is needed"),
    ],
    ids=["unknown key", "changed key", "refused", "no sshd", "no host", "bad option", "no Python", "old Python"],
)
async def test_what_keeps_it_from_starting_is_said(settings: dict[str, Any], said: str) -> None:
    folder = sshd.sshd().folder
    changed = " ".join((folder / "other.pub").read_text().split()[:2])
    (folder / "changed").write_text(f"[127.0.0.1]:{sshd.sshd().port} {changed}\n")
    old = "import sys; sys.version_info = (3, 9, 2, 'final', 0); sys.argv[1:2] = []; exec(sys.argv[3])"
    (folder / "old").write_text(f'#!/bin/sh\nshift 2\nexec python3 -c "{old}" x x "$@"')
    (folder / "old").chmod(0o755)
    known = tuple(each for each in sshd.sshd().options if "{folder}/other" not in str(settings) or "File" not in each)
    filled = {
        key: tuple(each.format(folder=folder) for each in value) + known
        if isinstance(value, tuple)
        else value.format(folder=folder)
        for key, value in settings.items()
    }
    async with opened(**filled) as running:
        with pytest.raises(SandboxUnavailableError) as caught:
            await running.start()
    assert said in str(caught.value)
    assert caught.value.exit_code == 5


async def test_an_option_does_not_loosen_what_is_fixed() -> None:
    loose = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={os.devnull}", *sshd.sshd().options)
    async with opened(options=loose) as running:
        with pytest.raises(SandboxUnavailableError, match="Host key verification failed"):
            await running.start()


async def test_without_a_host_it_says_how_to_name_one() -> None:
    running = load("ssh").from_config(Config(environment="ssh"))
    with pytest.raises(ConfigError, match=r"\[ssh\] host"):
        await running.start()
    await running.aclose()
