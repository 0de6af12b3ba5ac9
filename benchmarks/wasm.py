"""The WASM sandbox through its interface: cold and warm starts, cells, calls and a large context."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.fixture import text_file
from benchmarks.sandboxes import SPEC, cell_and_call_ms, opened, run
from rlm import Config, repl
from rlm.core.contexts.context import Context

STARTS = 5
TAKES = 5
REST_S = 1.0
"""In which the pool starts the next process."""
HUNDRED_MEGABYTES = 100_000_000


def wasm_starts() -> list[Figure]:
    """From nothing to the end of the first cell, and the same where a process waits."""
    asyncio.run(_cold_s())  # fetches Pyodide and makes the snapshot where they are missing
    cold_s = median([asyncio.run(_cold_s()) for _ in range(STARTS)])
    return [
        Figure(name="WASM: cold start with snapshot, median", value=cold_s, unit="s", limit=0.7),
        Figure(name="WASM: take from the pool, median", value=asyncio.run(_take_ms(None)), unit="ms", limit=20),
    ]


def wasm_cells() -> list[Figure]:
    """An empty cell, and one call of a host function from within a cell."""
    cell_ms, call_ms = asyncio.run(cell_and_call_ms("wasm", REST_S))
    return [
        Figure(name="WASM: no-op cell, median", value=cell_ms, unit="ms", limit=0.5),
        Figure(name="WASM: host callback", value=call_ms, unit="ms", limit=0.2),
    ]


def wasm_context() -> list[Figure]:
    """Taking a process for a context of 100 MB of ASCII, to the end of the first cell."""
    with text_file(HUNDRED_MEGABYTES) as path:
        take_ms = asyncio.run(_take_ms(path))
    return [Figure(name="WASM: a 100 MB context, median", value=take_ms / 1000, unit="s", limit=1.5)]


async def _cold_s() -> float:
    begin = time.perf_counter()
    sandbox = repl.load("wasm").from_config(Config())
    try:
        await run(await sandbox.open(Context.empty(), SPEC), "pass")
        return time.perf_counter() - begin
    finally:
        await sandbox.aclose()


async def _take_ms(source: Path | None) -> float:
    taken = []
    async with opened(source, "wasm") as (sandbox, context, _root):
        for _ in range(TAKES):
            await asyncio.sleep(REST_S)
            begin = time.perf_counter()
            child = await sandbox.open(context, SPEC)
            await run(child, "pass")
            taken.append((time.perf_counter() - begin) * 1e3)
            await child.aclose()
    return median(taken)
