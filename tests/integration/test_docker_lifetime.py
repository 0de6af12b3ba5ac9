"""No container outlives its host, its time or its sandbox, and an engine that goes away ends a run in words."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from rlm import RLM, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import DockerConfig
from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.core.types import ReplSpec
from rlm.repl.owners import LABEL, Owner
from rlm.runtime.inputs import prepare
from tests.support.engines import SPEC, Proxy, client, containers, sandbox, until_none
from tests.support.required import TEST_IMAGE, needs

pytestmark = needs("docker")

HOST = """
import asyncio
from rlm.core.types import ReplSpec
from rlm.runtime.inputs import prepare
from rlm.core.config import DockerConfig
from rlm.repl.docker.launcher import DOCKER

async def main():
    sandbox = DOCKER.sandbox(DockerConfig(image={image!r}, warm=1))
    async def call(name, args, kwargs):
        print("running", flush=True)
        await asyncio.Event().wait()
    spec = ReplSpec(call=call, functions=("tell",))
    spinning, idle = await sandbox.open(prepare("some text"), spec), await sandbox.open(prepare(None), spec)
    await spinning.execute({cell!r})

asyncio.run(main())
"""
LOOPING = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()\ntell()"
DEFIANT = (
    "import os, signal\nfor number in range(1, 65):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n"
    "    except (OSError, ValueError):\n        pass\n"
    "if not os.fork():\n    os.setsid()\n    while True: pass\ntell()\nwhile True: pass"
)
"""Deaf to signals, with a process apart that spins on."""


@pytest.mark.parametrize("cell", [LOOPING, DEFIANT], ids=["looping", "defiant"])
async def test_killing_the_host_leaves_nothing(cell: str, tmp_path: Path) -> None:
    code = HOST.format(image=TEST_IMAGE, cell=cell)
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env=environ)
    assert host.stdout is not None
    assert await host.stdout.readline() == b"running\n"
    label = f"rlm.host.pid={host.pid}"
    assert len(await asyncio.to_thread(containers, label)) >= 2
    assert list(tmp_path.glob("rlm-docker-*"))
    host.kill()
    await host.wait()
    async with asyncio.timeout(10):  # benchmarks/docker.py holds it to 2 s
        await until_none(label)
        while list(tmp_path.glob("rlm-docker-*")):
            await asyncio.sleep(0.02)


async def test_closing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with sandbox(warm=1) as running:
        await running.open(prepare("text"), SPEC)
        assert await asyncio.to_thread(containers, f"rlm.host.pid={os.getpid()}")
    assert await asyncio.to_thread(containers, f"rlm.host.pid={os.getpid()}") == []
    assert list(tmp_path.glob("rlm-docker-*")) == []


async def test_closing_ends_a_repl_that_is_being_opened() -> None:
    async with sandbox() as running:
        await running.start()
        opening = [asyncio.create_task(running.open(prepare("text"), SPEC)) for _ in range(2)]
        while not running._repls:
            await asyncio.sleep(0)
        await running.aclose()
        async with asyncio.timeout(30):
            ended = await asyncio.gather(*opening, return_exceptions=True)
        assert all(isinstance(each, Exception) for each in ended)
        with pytest.raises(REPLError, match="is closed"):
            await running.start()
    assert await asyncio.to_thread(containers, f"rlm.host.pid={os.getpid()}") == []


async def test_who_stops_a_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with sandbox(warm=1) as running:
        starting = asyncio.create_task(running.start())
        while not list(tmp_path.glob("rlm-docker-*/*")):  # its first container is being made
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert list(tmp_path.iterdir()) == []
    assert await asyncio.to_thread(containers, f"rlm.host.pid={os.getpid()}") == []


async def test_a_container_ends_with_its_time() -> None:
    async with sandbox(ttl_s=2.0) as running:
        repl = await running.open(prepare(None), SPEC)
        result = await repl.execute("while True: pass")
        assert result.status == "killed"
        assert result.error is not None
        assert "docker.ttl_s" in result.error.message
        assert (await repl.execute("1 + 1")).output == "2\n"


async def test_starting_sweeps_what_a_killed_host_left_and_nothing_else() -> None:
    finished = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await finished.wait()
    here = Owner.here()
    dead = Owner(id="swept", pid=finished.pid, started="1", machine=here.machine)
    living = Owner(id="kept", pid=here.pid, started=here.started, machine=here.machine)
    with client() as api:
        for owner in (dead, living):
            api.create_container(TEST_IMAGE, ["true"], labels=owner.labels)
    async with sandbox() as running:
        await running.start()
        assert await asyncio.to_thread(containers, f"{LABEL}=swept") == []
        (kept,) = await asyncio.to_thread(containers, f"{LABEL}=kept")
    with client() as api:
        api.remove_container(kept)


async def test_an_engine_that_goes_away_ends_the_cell_and_then_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Proxy() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)

        async def leave(*_: object) -> None:
            await engine.stop()
            await asyncio.Event().wait()

        async with sandbox() as running:
            repl = await running.open(prepare(None), ReplSpec(call=leave, functions=("leave",)))
            result = await repl.execute("leave()")
            assert result.status == "killed"
            assert result.error is not None
            assert result.error.message == "the connection to the Docker engine was lost"
            with pytest.raises(SandboxUnavailableError, match="no Docker engine answers at tcp://127"):
                await repl.execute("1")
    monkeypatch.delenv("DOCKER_HOST")
    async with asyncio.timeout(10):
        await until_none(f"rlm.host.pid={os.getpid()}")


async def test_a_run_whose_engine_goes_away_lands_with_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)

        @tool(reads_only=True)
        async def leave() -> str:
            """Take the engine away."""
            await engine.stop()
            return "gone"

        script = ScriptedBackend([tool_call("execute_code", code=code) for code in ("leave()", "print(1)")])
        settings = DockerConfig(image=TEST_IMAGE, warm=0)
        config = Config(log_dir=str(tmp_path), environment="docker", docker=settings)
        async with RLM(script, config=config, tools=[leave]) as rlm:
            result = await rlm.acompletion("question")
    assert (result.status, type(result.error)) == ("failed", SandboxUnavailableError)
    assert result.trajectory is not None
    assert b"no Docker engine answers" in result.trajectory.read_bytes().splitlines()[-1]
