"""A connection to one MCP server, in both eras of the protocol, and the process behind it where it is started here.

The library's client must be entered and left by the same task: the connection is that task. A server's process is in a
group of its own and ends with this one, and gets no variable that isn't configured for it.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CONNECTION_CLOSED, Implementation

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.plain import one_line
from rlm.processes.child import with_keeper
from rlm.tools.mcp.remote import remote_transport
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from mcp.client._transport import Transport
    from mcp.types import CallToolResult, Tool

    from rlm.core.config import McpServerConfig

MOST_TOOLS = 128
MOST_PAGES = 20
_CLOSE_S = 10.0


class Connection:
    """A connection to one server; `open` comes first."""

    def __init__(self, name: str, config: McpServerConfig, environ: Mapping[str, str]) -> None:
        self.name = name
        self.config = config
        self._environ = environ
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self.tools: list[Tool] = []
        """The tools that may be called."""

    async def open(self) -> None:
        """Connect and read the list of tools.

        Raises:
            ConfigError: the server is configured wrongly.
            ToolError: it can't be reached, or broke the protocol; says which server and what happened.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(opened))
        try:
            async with asyncio.timeout(self.config.start_timeout_s):
                await asyncio.shield(opened)
        except TimeoutError as error:
            await self.aclose()
            raise ToolError(f"no answer within {self.config.start_timeout_s:g} s (start_timeout_s)") from error

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool.

        Raises:
            TimeoutError: the server didn't answer in time.
            MCPError: the server refused.
            ToolError: the connection is gone.
        """
        if self._client is None or self._task is None or self._task.done():
            raise ToolError(f"the MCP server {self.name} is gone; the next run starts it again")
        try:
            async with asyncio.timeout(self.config.timeout_s):
                return await self._client.call_tool(tool, arguments)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                self._client = None
            raise

    @property
    def usable(self) -> bool:
        return self._client is not None and self._task is not None and not self._task.done()

    async def aclose(self) -> None:
        """End the connection and the process behind it; idempotent."""
        self._leave.set()
        if self._task is None:
            return
        if self._client is not None:
            await asyncio.wait([self._task], timeout=_CLOSE_S)
        self._task.cancel()  # a server that never answered is given no time
        await asyncio.wait([self._task], timeout=_CLOSE_S)

    async def _live(self, opened: asyncio.Future[None]) -> None:
        """Hold the connection until it is to be closed; an error before that is the outcome of `opened`."""
        try:
            async with AsyncExitStack() as stack:
                transport = await self._transport(stack)
                client = Client(transport, client_info=Implementation(name="rlm", version=__version__))
                await stack.enter_async_context(client)
                client.session.validate_tool_result = _unchecked  # type: ignore[method-assign, assignment]
                self.tools = await self._list(client)
                self._client = client
                opened.set_result(None)
                await self._leave.wait()
        except ConfigError as error:
            _tell(opened, error)
        except Exception as error:  # noqa: BLE001 - the boundary to a server, which can make the library raise anything
            _tell(opened, ToolError(one_line(_cause(error), 500)))
        finally:
            self._client = None
            _tell(opened, ToolError("the connection was closed"))

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        config = self.config
        if bool(config.command) == bool(config.url):
            raise ConfigError(f"[mcp_servers.{self.name}] needs either command or url")
        if config.url:
            return await remote_transport(self.name, config, self._environ, stack)
        missing = [name for name in config.env_from if name not in self._environ]
        if missing:
            raise ConfigError(f"[mcp_servers.{self.name}] env_from: {', '.join(missing)} is not set")
        argv = with_keeper(config.command)
        env = {**config.env, **{name: self._environ[name] for name in config.env_from}}
        errors: TextIO = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: ASYNC230, PTH123, SIM115
        return stdio_client(StdioServerParameters(command=argv[0], args=argv[1:], env=env), errlog=errors)

    async def _list(self, client: Client) -> list[Tool]:
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) > MOST_TOOLS:
                break
        allowed = self.config.tools
        return [tool for tool in found[:MOST_TOOLS] if allowed is None or tool.name in allowed]


async def _unchecked(_tool: str, _result: CallToolResult) -> None:
    """Take a result as it is: it is text for a model. The library would check it by a schema of the server's own, on
    the event loop and without a limit.
    """


def _tell(opened: asyncio.Future[None], error: Exception) -> None:
    if not opened.done():
        opened.set_exception(error)
        opened.exception()  # marks it as retrieved: perhaps nobody waits for it any more


def _cause(error: BaseException) -> str:
    """The error itself, out of the exception groups around it, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, MCPError | OSError) and str(error) else f"{type(error).__name__}: {error}"
