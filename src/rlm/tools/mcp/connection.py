"""A connection to one MCP server, in both eras of the protocol, and the process behind it where it is started here.

The library's client must be entered and left by the same task: the connection is that task. A server's process is in a
group of its own and ends with this one, and gets no variable that isn't configured for it.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp import Client, MCPError
from mcp.types import CONNECTION_CLOSED, Implementation

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.plain import one_line
from rlm.tools.mcp.local import Program
from rlm.tools.mcp.noise import Noise
from rlm.tools.mcp.remote import remote_transport
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.client._transport import Transport
    from mcp.types import CallToolResult, Tool

    from rlm.core.config import McpServerConfig

MOST_TOOLS = 128
MOST_PAGES = 20
_CLOSE_S = 10.0
_LOST = (CONNECTION_CLOSED, "Connection closed")
"""What the library raises where a connection is lost; the code alone may be a server's own."""
_SECRET_CHARS = 6
"""The length from which the value of a variable is kept out of messages."""


class Connection:
    """A connection to one server; `open` comes first."""

    def __init__(self, name: str, config: McpServerConfig, environ: Mapping[str, str]) -> None:
        self.name = name
        self.config = config
        self._environ = environ
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        """Set where the connection is to be closed, and where the program behind it has gone."""
        self._program: Program | None = None
        self.noise = Noise()
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
            said = f"no answer within {self.config.start_timeout_s:g} s (start_timeout_s)"
            raise ToolError(self._with_last_words(said)) from error

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool.

        Raises:
            TimeoutError: the server didn't answer in time.
            MCPError: the server refused.
            ConnectionError: the connection was lost, before the call or during it; says how.
        """
        if self._client is None or not self.usable:
            raise ConnectionError(self.ending)
        try:
            async with asyncio.timeout(self.config.timeout_s):
                return await self._client.call_tool(tool, arguments)
        except MCPError as error:
            if (error.code, error.message) != _LOST:
                raise
            await self.aclose()
            raise ConnectionError(self.ending) from error

    @property
    def usable(self) -> bool:
        return self._client is not None and not self._leave.is_set()

    @property
    def ending(self) -> str:
        """How the connection ended, with the last words of a program that was started here."""
        return self._with_last_words("" if self._program is None else self._program.ending)

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
        self.noise.hold_back()
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
            said = "" if self._program is None else self._program.ending
            _tell(opened, ToolError(self._with_last_words(said or one_line(_cause(error), 500))))
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
        env = {**config.env, **{name: self._environ[name] for name in config.env_from}}
        self._program = Program(argv=config.command, env=env, cwd=Path.cwd())
        return self._program.transport(self.noise, self._leave)

    def _with_last_words(self, said: str) -> str:
        """`said` with what the program wrote to its standard error last, without the values that it was given."""
        said = said or "the connection was lost"
        if self._program is None:
            return said
        noise = self.noise.take()
        text = f"{said}{f'; it {noise}' if noise else ''}"
        lines = self._program.last_lines
        text += f"; its last lines:{lines}" if lines else ""
        for name, value in self._program.env.items():
            text = text.replace(value, f"[{name}]") if len(value) >= _SECRET_CHARS else text
        return text

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
