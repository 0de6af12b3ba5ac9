"""Nothing of a WASM sandbox outlives it, nor the host that started it."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rlm.core.config import WasmConfig
from rlm.core.contexts.context import Context
from rlm.core.exceptions import REPLError, REPLExecutionError
from rlm.core.types import ReplSpec
from rlm.repl.forked import readable
from rlm.repl.wasm.launcher import WASM
from rlm.testing.openers import shown
from tests.integration.test_wasm_escapes import deno_children
from tests.support.required import needs
from tests.support.wasm import no_answer, opened

pytestmark = needs("wasm")

HOST = """
import asyncio, sys
from tests.support.wasm import opened
from tests.integration.test_wasm_escapes import deno_children

async def main():
    async with opened("a context", warm=1) as repl:
        running = asyncio.ensure_future(repl.execute({code!r}))
        while len(deno_children()) < 2:
            await asyncio.sleep(0.01)
        print(*deno_children(), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("code", ["1", "while True: pass", "sum(range(10**12))", "import time\ntime.sleep(600)"])
def test_a_killed_host_leaves_no_process(code: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOST.format(code=code)]
    root, environ = Path(__file__).parents[2], {**os.environ, "TMPDIR": str(tmp_path)}
    host = subprocess.Popen(command, cwd=root, env=environ, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    with host.stdout:
        pidfds = [os.pidfd_open(int(pid)) for pid in host.stdout.readline().split()]
    host.kill()
    host.wait()
    killed_at = time.monotonic()
    for pidfd in pidfds:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        assert poll.poll(2_000 - (time.monotonic() - killed_at) * 1_000)
        os.close(pidfd)
    assert len(pidfds) == 2
    assert list(tmp_path.iterdir()) == []


async def test_closing_ends_processes_and_nothing_is_ever_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with opened("a secret", warm=1) as repl:
        assert (await repl.execute("import os\nos._exit(3)")).status == "killed"
        assert shown(await repl.execute("context")) == "'a secret'"
        while len(deno_children()) < 2:  # this one's, and the one that waits for the next
            await asyncio.sleep(0.01)
        assert list(tmp_path.iterdir()) == []
    assert deno_children() == []
    assert list(tmp_path.iterdir()) == []


async def test_a_context_of_many_parts_comes_whole_and_in_order(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.txt").write_text(f"{number}" * (number * 40_000), encoding="utf-8")
    async with opened(tmp_path) as repl:
        code = "[(len(context[name]), set(context[name])) for name in sorted(context)]"
        expected = [(number * 40_000 * len(str(number)), set(str(number) if number else "")) for number in range(20)]
        assert shown(await repl.execute(f"{code} == {expected!r}")) == "True"


async def test_a_warm_process_that_died_is_not_handed_out() -> None:
    sandbox = WASM.sandbox(WasmConfig(warm=1))
    await sandbox.start()
    await ended_once_there()
    repl = await sandbox.open(Context.empty(), ReplSpec(call=no_answer))
    assert shown(await repl.execute("1")) == "1"
    await sandbox.aclose()


async def ended_once_there() -> None:
    """Kill the first Deno process that appears, and wait until it is gone."""
    while not deno_children():
        await asyncio.sleep(0.01)
    (pid,) = deno_children()
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    await readable(pidfd)
    os.close(pidfd)


async def test_closing_ends_a_repl_that_is_being_opened() -> None:
    sandbox = WASM.sandbox(WasmConfig(warm=1))
    await sandbox.start()
    opening = asyncio.create_task(sandbox.open(Context.empty(), ReplSpec(call=no_answer)))
    while not sandbox._repls:
        await asyncio.sleep(0)
    await sandbox.aclose()
    with pytest.raises(REPLExecutionError, match="closed"):
        await opening
    assert deno_children() == []


async def test_without_descriptors_nothing_starts_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = WASM.sandbox(WasmConfig(warm=0))
    await sandbox.start()
    first = await sandbox.open(Context.empty(), ReplSpec(call=no_answer))
    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    with pytest.raises(REPLError, match="Too many open files"):
        await sandbox.open(Context.empty(), ReplSpec(call=no_answer))
    assert len(deno_children()) == 1
    await first.aclose()
    await sandbox.aclose()


def no_descriptor(_pid: int) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_host_killed_while_it_fetches_leaves_no_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as registry:
        address = f"http://127.0.0.1:{registry.getsockname()[1]}/"
        environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "NPM_CONFIG_REGISTRY": address}
        command = [sys.executable, "-m", "rlm", "exec", "--env", "wasm", "-c", "1"]
        host = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
        asked, _ = registry.accept()
        with asked:
            host.kill()
            host.wait()
            asked.settimeout(10)
            while asked.recv(1 << 16):  # until Deno, which waits for an answer, is gone
                pass
