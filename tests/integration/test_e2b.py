"""REPLs in a sandbox of E2B, by its real SDK, over a stand-in of its service that runs processes of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rlm.core.config import E2bConfig
from rlm.core.exceptions import SandboxUnavailableError
from rlm.core.interfaces import Sandbox
from rlm.core.types import ReplSpec
from rlm.repl.e2b.launcher import E2B
from rlm.repl.live import Limits
from rlm.repl.owners import Owner
from rlm.runtime.inputs import prepare
from rlm.testing.openers import shown
from tests.servers.e2b_server import E2bServer, e2b_server


async def double(_name: str, args: Any, _kwargs: Any) -> Any:
    return 2 * args[0]


SPEC = ReplSpec(call=double, functions=("double",))


@asynccontextmanager
async def service(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[E2bServer]:
    async with e2b_server(**settings) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("E2B_DEBUG", raising=False)
        yield server


@asynccontextmanager
async def opened(limits: Limits | None = None, **settings: Any) -> AsyncIterator[Sandbox]:
    running = E2B.sandbox(E2bConfig(**{"warm": 0, **settings}), limits or Limits())
    try:
        yield running
    finally:
        await running.aclose()


async def test_cells_work_as_everywhere_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service(monkeypatch) as server, opened(Limits(grace_s=60)) as running:
        repl = await running.open(prepare("large " * 50_000), SPEC)
        assert shown(await repl.execute("import os; kept = 7; os.write(1, bytes(range(256))); len(context)"))
        result = await repl.execute(r"FINAL(b'\xff\x00' * double(2))")
        assert result.final is not None
        assert result.final.value == b"\xff\x00" * 4
        assert (await repl.execute("while True: pass", 0.4)).status == "timeout"
        assert shown(await repl.execute("kept, len(context)")) == "(7, 300000)"
        gone = await repl.execute("import os; os._exit(3)")
        assert gone.error is not None
        assert "with exit code 3" in gone.error.message
        assert shown(await repl.execute("'kept' in globals(), len(context)")) == "(False, 300000)"
        assert {"landlock", "seccomp", "lease"} <= set(running.traits.layers)
        (created,) = server.created
        assert (created["allow_internet_access"], created["timeout"]) == (False, 60)
        await running.aclose()
        assert server.machines == {}


async def test_each_frame_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service(monkeypatch) as server, opened() as running:
        repl = await running.open(prepare(None), SPEC)
        await repl.execute("pass")
        before = server.inputs
        for _ in range(10):
            await repl.execute("double(1)")
        assert server.inputs - before == 20, "a cell and the answer of its call, each time"


async def test_a_sandbox_that_e2b_ends_early_is_told_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service(monkeypatch) as server, opened() as running:
        repl = await running.open(prepare("text"), SPEC)
        running_cell = asyncio.create_task(repl.execute("import time\nprint('before', flush=True)\ntime.sleep(60)"))
        (machine,) = server.machines.values()
        await asyncio.sleep(0)
        server.end(machine)
        result = await running_cell
        assert result.error is not None
        assert (result.status, result.state_reset) == ("killed", True)
        assert shown(await repl.execute("context")) == "'text'"
        assert len(server.created) == 2


async def test_its_time_is_extended_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service(monkeypatch) as server, opened(ttl_s=3) as running:
        await running.start()
        (machine,) = server.machines.values()
        first = machine.ends_at
        while machine.ends_at == first:
            await asyncio.sleep(0.05)
        assert "timeout" in server.asked


async def test_what_hosts_that_are_gone_left_is_ended_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service(monkeypatch) as server:
        here = Owner.here()
        gone = Owner(id="gone", pid=here.pid, started="1", machine=here.machine)
        for owner in (here, gone):
            await server.make({"rlm": "sandbox", **owner.labels})
        async with opened() as running:
            await running.start()
            assert {"gone"} & {machine.metadata["rlm.owner"] for machine in server.machines.values()} == set()
            assert len(server.machines) == 2


@pytest.mark.parametrize(
    ("variables", "settings", "said"),
    [
        ({"E2B_API_KEY": ""}, {}, "set E2B_API_KEY"),
        ({"E2B_API_KEY": "another"}, {}, "E2B refuses the key"),
        ({"E2B_DEBUG": "true"}, {}, "E2B_DEBUG is set"),
        ({}, {"refuses": {"create": (429, "too many")}}, "no more sandboxes for this key now"),
        ({}, {"refuses": {"create": (404, "template not found")}}, "e2b.template"),
        ({}, {"refuses": {"create": (500, "broken")}}, "broken"),
        ({}, {"without": "python3"}, "e2b.template"),
        ({"E2B_API_URL": "http://127.0.0.1:9"}, {}, "E2B can't be reached"),
    ],
    ids=["no key", "wrong key", "debug", "quota", "no template", "its fault", "no Python", "no service"],
)
async def test_what_keeps_it_from_starting_is_said(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], settings: dict[str, Any], said: str
) -> None:
    async with service(monkeypatch, **settings) as server, opened() as running:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SandboxUnavailableError) as caught:
            await running.start()
        assert said in str(caught.value)
        assert caught.value.exit_code == 5
        assert server.machines == {}
