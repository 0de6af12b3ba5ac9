"""The MCP server as a host meets it: its start, a call that does nothing, and a cell that asks a hundred questions."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

from mcp import Client, StdioServerParameters

from benchmarks.figures import Figure
from benchmarks.sandboxes import cell_and_call_ms
from rlm.core.budget import estimate_tokens

STARTS, CALLS = 5, 100
QUERIES, QUERY_BYTES = 100, 2_048


def mcp_server() -> list[Figure]:
    """From the start of the process to its first answer, and an `execute_python` that does nothing."""
    starts_ms, call_ms = asyncio.run(_start_and_call_ms())
    cell_ms, _ = asyncio.run(cell_and_call_ms())
    return [
        Figure(name="MCP server, start to first answer, median", value=starts_ms, unit="ms", limit=1_000),
        Figure(
            name="execute_python that does nothing, above the REPL's own", value=call_ms - cell_ms, unit="ms", limit=5
        ),
    ]


def mcp_queries() -> list[Figure]:
    """A hundred queries of 2 KB that the host answers: rounds, and the size of the largest by three bytes a token."""
    rounds = asyncio.run(_rounds())
    largest = max(map(estimate_tokens, rounds))
    return [
        Figure(name="100 queries of 2 KB, rounds", value=len(rounds), unit="", limit=3),
        Figure(name="100 queries of 2 KB, largest round", value=largest, unit="tokens", limit=25_000),
    ]


async def _start_and_call_ms() -> tuple[float, float]:
    starts = [await _start_ms() for _ in range(STARTS)]
    async with _client() as client:
        await _call(client, code="pass")
        calls = [await _call_ms(client) for _ in range(CALLS)]
    return median(starts), median(calls)


async def _start_ms() -> float:
    begin = time.perf_counter()
    async with _client() as client:
        await client.call_tool("list_sessions", {})
        return (time.perf_counter() - begin) * 1e3


async def _call_ms(client: Client) -> float:
    begin = time.perf_counter()
    await _call(client, code="pass")
    return (time.perf_counter() - begin) * 1e3


async def _rounds() -> list[str]:
    code = f"r = llm_query_batched([f'{{n:03}} ' + 'lorem ipsum ' * {QUERY_BYTES // 12} for n in range({QUERIES})])"
    async with _client() as client:
        said, rounds = await _call(client, code=code), []
        while found := re.findall(r"^=== (q\d+) ", said, re.MULTILINE):
            rounds.append(said)
            said = await _call(client, "answer_queries", answers=dict.fromkeys(found, "an answer"))
    return rounds


async def _call(client: Client, tool: str = "execute_python", **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    text: str = result.content[0].text  # type: ignore[union-attr]
    assert not result.is_error, text
    return text


@asynccontextmanager
async def _client() -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "rlm", "mcp-serve", "--log-dir", folder]
        async with Client(StdioServerParameters(command=sys.executable, args=command), mode="legacy") as client:
            yield client
