"""The official MCP client at a real `rlm mcp-serve`, over both transports and in both eras of the protocol."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.integration.cli import RLM, User

LEGACY, MODERN = "legacy", "2026-07-28"
TOKEN = "a-token-of-the-tests"


class Host:
    """What a host does with a server: calls tools and reads their text."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> str:
        """The text of a result. Raises:
        AssertionError: it is an error, or more than one text.
        """
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        return text_of(result)

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The text of a tool error."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result.content
        return text_of(result)

    async def run(self, code: str, **arguments: Any) -> str:
        return await self.call("execute_python", code=code, **arguments)


def text_of(result: Any) -> str:
    assert result.structured_content is None
    (content,) = result.content
    return str(content.text)


def over_stdio(user: User, *arguments: str) -> Any:
    """The transport to a server of its own."""
    parameters = StdioServerParameters(
        command=RLM, args=["mcp-serve", *arguments], cwd=user.cwd, env=dict(user.environ)
    )
    return stdio_client(parameters, errlog=sys.stderr)


@asynccontextmanager
async def http_server(user: User, *arguments: str) -> AsyncIterator[str]:
    """A server over HTTP; gives its address."""
    command = [RLM, "mcp-serve", "--http", "--port", "0", *arguments]
    env = {**user.environ, "RLM_MCP_TOKEN": TOKEN}
    process = await asyncio.create_subprocess_exec(*command, cwd=user.cwd, env=env, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = (await process.stderr.readline()).decode()
        assert said.startswith("serving http://127.0.0.1:"), said
        reading = asyncio.ensure_future(process.stderr.read())
        yield said.split()[1].rstrip(",")
        process.terminate()
        await reading
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def over_http(url: str, mode: str, token: str = TOKEN, **options: Any) -> AsyncIterator[Host]:
    """One client of an HTTP server."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **options) as client,
    ):
        yield Host(client)


@asynccontextmanager
async def host(user: User, transport: str, mode: str, *arguments: str, **options: Any) -> AsyncIterator[Host]:
    """A client of a server of its own."""
    if transport == "http":
        async with http_server(user, *arguments) as url, over_http(url, mode, **options) as connected:
            yield connected
        return
    async with Client(over_stdio(user, *arguments), mode=mode, **options) as client:
        yield Host(client)


@asynccontextmanager
async def held(context: AbstractAsyncContextManager[Host]) -> AsyncIterator[Host]:
    """The same in a task of its own, for fixtures: the client wants to be left by the task that entered it."""
    entered: asyncio.Future[Host] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        async with context as connected:
            entered.set_result(connected)
            await leave.wait()

    holding = asyncio.ensure_future(hold())
    await asyncio.wait({holding, entered}, return_when=asyncio.FIRST_COMPLETED)
    if not entered.done():
        await holding
    yield entered.result()
    leave.set()
    await holding


@asynccontextmanager
async def lent(connected: Host, project: Path) -> AsyncIterator[Host]:
    """A client that other tests have too: afterwards its sessions and what is in the project are gone."""
    yield connected
    for line in (await connected.call("list_sessions")).splitlines():
        name, found, _ = line.partition(": ")
        if found:
            await connected.call("destroy_session", session_id=name)
    for path in project.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def big_log(folder: Path, lines: int = 1_000) -> Path:
    """A log in which every tenth line is an error."""
    path = folder / "big.log"
    path.write_text("".join(f"{number} {'ERROR' if number % 10 == 0 else 'fine'}\n" for number in range(lines)))
    return path
