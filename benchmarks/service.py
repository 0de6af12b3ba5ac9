"""What the service adds to a run, how soon events come, what readers cost, and how soon `rlm ctl list` has its rows."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.figures import Figure
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.client import Client
from rlm.core.config import Config, ServiceConfig
from rlm.core.types import ModelRequest, ToolCall
from rlm.jobs.engines.local import LocalEngine
from rlm.runtime.asking import live_runs
from rlm.runtime.control_socket import socket_folder
from rlm.runtime.models import BackendPool
from rlm.runtime.request import Request
from rlm.service.messages import NewRun
from rlm.service.server import serving
from rlm.service.tokens import owner_token

RUNS = 30
LISTED = 50
READERS = 1_000
PAUSED_CALLS = 1.0
PAUSED_S = 0.5
"""How long a paused run is watched, in seconds."""
OVERHEAD_MS, FIRST_MS, LIST_MS, READERS_MB = 5.0, 20.0, 50.0, 100.0


def service() -> list[Figure]:
    """A run of one answer without a cell, by REST beside in process; its first event; 1,000 readers of one run; and 50
    runs in progress that are listed over their socket; and how many calls a run begins once it was paused."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = folder
        try:
            return asyncio.run(_figures(Path(folder)))
        finally:
            os.environ.pop("XDG_STATE_HOME")
            if before is not None:
                os.environ["XDG_STATE_HOME"] = before


async def _figures(folder: Path) -> list[Figure]:
    gate, turns = asyncio.Event(), _Turns()
    gate.set()

    async def answer(request: ModelRequest) -> str | ToolCall:
        if turns.are_wanted_by(request):
            return await turns.next()
        await gate.wait()
        return "done"

    backend = ScriptedBackend(answer)
    config = Config(
        model="held/m", environment="local", log_dir=str(folder / "logs"), service=ServiceConfig(port=0, drain_s=0.001)
    )
    engine = LocalEngine(BackendPool(backend))
    request = Request(prompt="?", config=config)

    async def in_process() -> None:
        await (await engine.submit(request)).result()

    token = owner_token(folder / "service")
    async with serving(config, folder / "service", backend) as found, Client(found.url, token) as client:

        async def by_rest() -> None:
            await client.result((await client.submit(NewRun(prompt="?"))).id)

        own_ms, rest_ms = await _p50_ms(in_process), await _p50_ms(by_rest)
        gate.clear()
        first_ms, readers_mb, list_ms = await _first_ms(client), await _readers_mb(client), await _list_ms(client)
        gate.set()
        begun_after = await _begun_after_a_pause(client, turns)
    await engine.aclose()
    added_ms = rest_ms - own_ms
    return [
        Figure(name="service: a run by REST, over one in process (p50)", value=added_ms, unit="ms", limit=OVERHEAD_MS),
        Figure(name="service: the first event of a run in progress", value=first_ms, unit="ms", limit=FIRST_MS),
        Figure(name="service: 1,000 readers, here and there", value=readers_mb, unit="MB", limit=READERS_MB),
        Figure(name="ctl: list 50 runs in progress", value=list_ms, unit="ms", limit=LIST_MS),
        Figure(name="service: model calls begun after a pause", value=begun_after, unit="", limit=PAUSED_CALLS),
    ]


class _Turns:
    """A model whose run of one prompt has turns without end, each as soon as the last."""

    PROMPT = "go on and on"

    def __init__(self) -> None:
        self.count = 0
        self.second = asyncio.Event()
        """Set with the second turn."""

    def are_wanted_by(self, request: ModelRequest) -> bool:
        return any(self.PROMPT in str(message.content) for message in request.messages)

    async def next(self) -> ToolCall:
        self.count += 1
        if self.count > 1:
            self.second.set()
        return tool_call("execute_code", code=f"x = {self.count}")


async def _begun_after_a_pause(client: Client, turns: _Turns) -> float:
    """How many calls a run begins between the answer to its pause and its end."""
    note = await client.submit(NewRun(prompt=turns.PROMPT, budget={"max_turns": 1_000}))
    await turns.second.wait()
    await client.control(note.id, "pause")
    before = turns.count
    await asyncio.sleep(PAUSED_S)
    begun = turns.count - before
    await client.control(note.id, "cancel")
    await client.result(note.id)
    return float(begun)


async def _begun(client: Client) -> str:
    """A run whose first event has happened."""
    note = await client.submit(NewRun(prompt="?"))
    events = client.events(note.id)
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]
    return note.id


async def _p50_ms(work: Callable[[], Awaitable[None]]) -> float:
    await work()
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        await work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1_000


async def _first_ms(client: Client) -> float:
    """From the request for the events of a run in progress to the first of them."""
    run_id = await _begun(client)
    begin = time.perf_counter()
    events = client.events(run_id)
    await anext(events)
    first_ms = (time.perf_counter() - begin) * 1_000
    await events.aclose()  # type: ignore[attr-defined]
    return first_ms


async def _readers_mb(client: Client) -> float:
    """How much memory this process takes more with the readers, which are in it too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run_id = await _begun(client)
    before = _rss_mb()
    readers = [client.events(run_id) for _ in range(READERS)]
    await asyncio.gather(*(anext(reader) for reader in readers))
    grown_mb = _rss_mb() - before
    await asyncio.gather(*(reader.aclose() for reader in readers))  # type: ignore[attr-defined]
    return grown_mb


async def _list_ms(client: Client) -> float:
    """How long it takes to ask for all runs in progress: 50, and two of the measurements before."""
    await asyncio.gather(*(_begun(client) for _ in range(LISTED)))
    folder = socket_folder(os.environ)
    assert folder is not None
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        assert len(await live_runs(folder)) >= LISTED
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1_000


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6
