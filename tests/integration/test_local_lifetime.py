"""No process of the local sandbox outlives its host, and a lost zygote is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rlm.core.config import LocalConfig
from rlm.core.contexts.context import Context
from rlm.core.exceptions import ConfigError, SandboxUnavailableError
from rlm.core.types import ReplSpec
from rlm.repl.guest.linux.confine import Layer
from rlm.repl.local.launcher import LOCAL
from rlm.repl.sandbox import HostedSandbox
from rlm.runtime.inputs import prepare

HOST = """
import asyncio, os, sys
from rlm.core.contexts.context import Context
from rlm.core.types import ReplSpec
from rlm.runtime.inputs import prepare
from rlm.core.config import LocalConfig
from rlm.repl.local.launcher import LOCAL

async def main():
    sandbox = LOCAL.sandbox(LocalConfig(policy="off"))
    async def call(name, args, kwargs):
        print("running", flush=True)
        await asyncio.Event().wait()
    spec = ReplSpec(call=call, functions=("tell",))
    spinning = await sandbox.open(prepare("some text"), spec)
    idle = await sandbox.open(Context.empty(), spec)
    code = "import threading\\ndef spin():\\n    while True: pass\\nthreading.Thread(target=spin).start()\\ntell()"
    await spinning.execute(code)

asyncio.run(main())
"""


async def no_call(*_: object) -> None:
    raise AssertionError("nothing is bound")


SPEC = ReplSpec(call=no_call)


@pytest.fixture
async def sandbox() -> AsyncIterator[HostedSandbox]:
    running = LOCAL.sandbox(LocalConfig(policy="off"))
    yield running
    await running.aclose()


def descendants(pid: int) -> set[int]:
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = {int(child) for child in (task / "children").read_text().split()}
        found |= children.union(*(descendants(child) for child in children))
    return found


async def gone(pids: set[int]) -> None:
    """Wait until none of the processes is there any more."""
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        await asyncio.sleep(0.01)


async def test_killing_the_host_leaves_no_process() -> None:
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", HOST, stdout=asyncio.subprocess.PIPE)
    assert host.stdout is not None
    assert await host.stdout.readline() == b"running\n"
    family = descendants(host.pid)
    assert len(family) == 4  # base, the one with the context, two guests
    host.kill()
    await host.wait()
    async with asyncio.timeout(2):
        await gone(family)


async def test_closing_leaves_no_process(sandbox: HostedSandbox) -> None:
    others = descendants(os.getpid())  # of other tests of this process
    await sandbox.open(prepare("text"), SPEC)
    await sandbox.open(Context.empty(), SPEC)
    family = descendants(os.getpid()) - others
    assert len(family) == 4
    await sandbox.aclose()
    assert descendants(os.getpid()) & family == set()


async def test_closing_repls_ends_the_zygote_of_their_context(sandbox: HostedSandbox) -> None:
    await sandbox.start()
    before = descendants(os.getpid())
    context = prepare("text")
    repls = [await sandbox.open(context, SPEC) for _ in range(3)]
    assert len(descendants(os.getpid()) - before) == 4
    for repl in repls:
        await repl.aclose()
    async with asyncio.timeout(2):
        await gone(descendants(os.getpid()) - before)


@pytest.mark.parametrize("text", ["", "some text"])
async def test_a_dead_zygote_is_replaced(sandbox: HostedSandbox, text: str) -> None:
    others = _children(os.getpid())  # of other tests of this process
    repl = await sandbox.open(prepare(text), SPEC)
    await repl.execute("x = 1")
    (base,) = _children(os.getpid()) - others
    os.kill(base, signal.SIGKILL)
    async with asyncio.timeout(5):
        await gone({base})
        result = await repl.execute("context or ''")
        while result.status == "killed":  # the cell was faster than the news
            result = await repl.execute("context or ''")
    assert result.output == f"{text!r}\n"


def _children(pid: int) -> set[int]:
    return {int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()}


async def test_a_cancelled_open_leaves_nothing_behind(sandbox: HostedSandbox) -> None:
    await sandbox.start()
    before = descendants(os.getpid())
    for _ in range(5):
        opening = asyncio.create_task(sandbox.open(prepare("text"), SPEC))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    repl = await sandbox.open(Context.empty(), SPEC)
    assert (await repl.execute("1")).output == "1\n"
    await repl.aclose()
    async with asyncio.timeout(5):
        await gone(descendants(os.getpid()) - before)


async def test_missing_layers_are_refused_with_advice(monkeypatch: pytest.MonkeyPatch, sandbox: HostedSandbox) -> None:
    absent = Layer(name="landlock", active=False, detail="this kernel offers none")
    monkeypatch.setattr("rlm.repl.local.launcher.missing", lambda _layers: [absent])
    with pytest.raises(SandboxUnavailableError, match="landlock.*allow_unconfined") as caught:
        await sandbox.start()
    assert caught.value.exit_code == 5


async def test_another_system_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch, sandbox: HostedSandbox) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxUnavailableError, match="needs Linux"):
        await sandbox.start()


async def test_a_python_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch, sandbox: HostedSandbox) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SandboxUnavailableError, match="/bin/false"):
        await sandbox.start()


async def test_an_allowed_package_that_is_not_there_is_named() -> None:
    sandbox = LOCAL.sandbox(LocalConfig(policy="off", allowed_imports=("no_such_package",)))
    with pytest.raises(ConfigError, match=r"allowed_imports.*no_such_package"):
        await sandbox.start()


async def test_many_repls_come_and_go_without_a_trace(sandbox: HostedSandbox) -> None:
    await (await sandbox.open(prepare("text"), SPEC)).aclose()
    before = {*Path("/proc/self/fd").iterdir()}
    for _ in range(3):
        context = prepare("text")
        repls = await asyncio.gather(*(sandbox.open(context, SPEC) for _ in range(12)))
        results = await asyncio.gather(*(repl.execute("len(context)") for repl in repls))
        assert [result.output for result in results] == ["4\n"] * 12
        await asyncio.gather(*(repl.aclose() for repl in repls))
        context.close()
    assert {*Path("/proc/self/fd").iterdir()} <= before


async def test_the_probe_names_the_layers() -> None:
    found = await LOCAL.probe(LocalConfig())
    layers = {layer.name: layer for layer in found.layers}
    assert {"landlock", "seccomp", "limits", "capabilities", "user", "namespaces"} <= set(layers)
    assert all(layer.detail for layer in found.layers)
    assert found.detail.startswith("confines code on Linux")


async def test_packages_are_out_of_reach_unless_allowed() -> None:
    for imports, expected in ((), "ModuleNotFoundError"), (("numpy",), None):
        sandbox = LOCAL.sandbox(LocalConfig(policy="strict", allowed_imports=imports))
        try:
            repl = await sandbox.open(Context.empty(), SPEC)
            result = await repl.execute("import numpy\nint(numpy.arange(3).sum())")
            assert (result.error.kind if result.error else None) in (expected, "ImportError" if expected else None)
        finally:
            await sandbox.aclose()
