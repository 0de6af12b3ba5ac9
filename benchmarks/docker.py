"""The Docker sandbox through its interface; `RLM_BENCH_IMAGE` names the image, python:3.11-slim by default."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.fixture import text_file
from benchmarks.sandboxes import SPEC, run, timed_ms
from rlm.core.config import DockerConfig
from rlm.core.contexts.context import Context
from rlm.repl.docker.launcher import DOCKER
from rlm.repl.sandbox import HostedSandbox
from rlm.runtime.inputs import prepare

IMAGE = os.environ.get("RLM_BENCH_IMAGE", "python:3.11-slim")
STARTS = 5
CELLS = 300
CALLS = 1_000
HUNDRED_MEGABYTES = 100_000_000
HOST = """
import asyncio
from benchmarks.docker import SPEC, sandbox
from rlm.runtime.inputs import prepare

async def main():
    opened = await sandbox(warm=1).open(prepare(None), SPEC)
    print("running", flush=True)
    await opened.execute("while True: pass")

asyncio.run(main())
"""


def sandbox(*, warm: int) -> HostedSandbox:
    return DOCKER.sandbox(DockerConfig(image=IMAGE, warm=warm))


def starts() -> list[Figure]:
    """From a container that waits, and from nothing, to the end of a first cell."""
    warm_ms, cold_ms = asyncio.run(_first_cells_ms(warm=1)), asyncio.run(_first_cells_ms(warm=0))
    return [
        Figure(name="docker: take from the warm pool to first cell, median", value=warm_ms, unit="ms", limit=20),
        Figure(name="docker: cold start to first cell, median", value=cold_ms / 1e3, unit="s", limit=0.4),
    ]


def cells() -> list[Figure]:
    """An empty cell, alone and beside 100 MB, and a call of the host."""
    alone_ms, call_ms = asyncio.run(_cell_and_call_ms(None))
    with text_file(HUNDRED_MEGABYTES) as path:
        beside_ms, _ = asyncio.run(_cell_and_call_ms(path))
    return [
        Figure(name="docker: no-op cell, median", value=alone_ms, unit="ms", limit=0.6),
        Figure(name="docker: no-op cell with a 100 MB context, median", value=beside_ms, unit="ms", limit=0.6),
        Figure(name="docker: host callback", value=call_ms, unit="ms"),
    ]


def orphans() -> list[Figure]:
    """How long after its host was killed the last container, looping or warm, is gone."""
    return [Figure(name="docker: gone after kill -9 of the host", value=_gone_s(), unit="s", limit=2)]


async def _first_cells_ms(*, warm: int) -> float:
    running, taken = sandbox(warm=warm), []
    try:
        await running.start()
        await (await running.open(Context.empty(), SPEC)).aclose()  # with none warm, the first start leaves one
        for _ in range(STARTS):
            await asyncio.sleep(2.0 if warm else 0.0)  # until one is warm again
            begin = time.perf_counter()
            opened = await running.open(Context.empty(), SPEC)
            await run(opened, "pass")
            taken.append((time.perf_counter() - begin) * 1e3)
            await opened.aclose()
    finally:
        await running.aclose()
    return median(taken)


async def _cell_and_call_ms(source: Path | None) -> tuple[float, float]:
    running = sandbox(warm=0)
    try:
        opened = await running.open(prepare(source), SPEC)
        await run(opened, "pass")
        cell_ms = median([await timed_ms(opened, "pass") for _ in range(CELLS)])
        return cell_ms, await timed_ms(opened, f"for _ in range({CALLS}):\n    ask()") / CALLS
    finally:
        await running.aclose()


def _gone_s() -> float:
    import docker

    host = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE)
    assert host.stdout is not None
    assert host.stdout.readline() == b"running\n"
    time.sleep(1.0)  # the next one is warm too
    client = docker.from_env()
    label = {"label": f"rlm.host.pid={host.pid}"}
    assert client.containers.list(all=True, filters=label)
    host.kill()
    begin = time.perf_counter()
    host.wait()
    while client.containers.list(all=True, filters=label, ignore_removed=True):
        time.sleep(0.01)
    elapsed_s = time.perf_counter() - begin
    host.stdout.close()
    client.close()
    return elapsed_s
