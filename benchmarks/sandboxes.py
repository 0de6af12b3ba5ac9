"""The local sandbox through its interface: what a child REPL, an empty cell and a call of the host cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.fixture import text_file
from rlm import Config, repl
from rlm.core.contexts.context import Context
from rlm.core.interfaces import Repl, Sandbox
from rlm.core.types import ExecResult, ReplSpec
from rlm.runtime.inputs import prepare

CHILDREN = 30
CELLS = 300
CALLS = 1_000
GIGABYTE = 1_000_000_000


async def _no_answer(*_call: object) -> None:
    return None


SPEC = ReplSpec(call=_no_answer, functions=("ask",))


def child_start() -> list[Figure]:
    """Opening a REPL beside one that is there, with nothing and with a shared gigabyte; ready for a cell."""
    alone_ms = asyncio.run(start_ms(None))
    with text_file(GIGABYTE) as path:
        sharing_ms = asyncio.run(start_ms(path))
    return [
        Figure(name="start of a child REPL, no context, median", value=alone_ms, unit="ms", limit=8),
        Figure(name="start of a child REPL, sharing 1 GB, median", value=sharing_ms, unit="ms", limit=30),
    ]


def cells() -> list[Figure]:
    """An empty cell, and one call of a host function from within a cell."""
    cell_ms, call_ms = asyncio.run(cell_and_call_ms())
    return [
        Figure(name="no-op cell, median", value=cell_ms, unit="ms", limit=0.3),
        Figure(name="host callback", value=call_ms, unit="ms", limit=0.1),
    ]


async def start_ms(source: Path | None) -> float:
    async with opened(source) as (sandbox, context, _root):
        return median([await child_ms(sandbox, context) for _ in range(CHILDREN)])


async def child_ms(sandbox: Sandbox, context: Context) -> float:
    begin = time.perf_counter()
    child = await sandbox.open(context, SPEC)
    elapsed_s = time.perf_counter() - begin
    await run(child, "pass")
    await child.aclose()
    return elapsed_s * 1e3


async def cell_and_call_ms(environment: str = "local", rest_s: float = 0.0) -> tuple[float, float]:
    """An empty cell and one call, `rest_s` after the first cell: until then the pool may start its next process."""
    async with opened(None, environment) as (_sandbox, _context, root):
        await run(root, "pass")
        await asyncio.sleep(rest_s)
        cell_ms = median([await timed_ms(root, "pass") for _ in range(CELLS)])
        call_ms = await timed_ms(root, f"for _ in range({CALLS}):\n    ask()") / CALLS
    return cell_ms, call_ms


async def timed_ms(root: Repl, code: str) -> float:
    begin = time.perf_counter()
    await run(root, code)
    return (time.perf_counter() - begin) * 1e3


async def run(root: Repl, code: str) -> ExecResult:
    result = await root.execute(code)
    assert result.status == "ok", result
    return result


@asynccontextmanager
async def opened(source: Path | None, environment: str = "local") -> AsyncIterator[tuple[Sandbox, Context, Repl]]:
    """A started sandbox, the context, and a REPL with it."""
    sandbox = repl.load(environment).from_config(Config())
    context = prepare(source)
    try:
        yield sandbox, context, await sandbox.open(context, SPEC)
    finally:
        await sandbox.aclose()
