"""A server that is kept for one run after the other: started again where it has died, a few times in each run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError, ToolError
from rlm.tools.mcp.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.types import CallToolResult, Tool

    from rlm.core.config import McpServerConfig

RESTARTS = 3
"""The most times that a server is started again within one run."""


class KeptServer:
    """One configured server, and its connection, if there is one."""

    def __init__(self, name: str, config: McpServerConfig, environ: Mapping[str, str]) -> None:
        self.name = name
        self.config = config
        self._environ = environ
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()
        self._restarts = 0
        self._news: list[str] = []

    @property
    def usable(self) -> bool:
        return self._connection is not None and self._connection.usable

    @property
    def tools(self) -> list[Tool]:
        """The tools that may be called."""
        return [] if self._connection is None else self._connection.tools

    async def start(self) -> None:
        """Connect, unless there is a connection; another run has begun.

        Raises:
            ConfigError: the server is configured wrongly.
            ToolError: it can't be reached, or broke the protocol; says what happened.
        """
        self._restarts = 0
        if not self.usable:
            await self._open()

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool of the server, which is started again first where it has died. No call is made twice.

        Raises:
            TimeoutError: the server didn't answer in time.
            MCPError: the server refused.
            ToolError: the server can't be started again, or died during the call.
        """
        async with self._opening:
            if not self.usable:
                await self._restart()
        assert self._connection is not None
        try:
            return await self._connection.call(tool, arguments)
        except ConnectionError as error:
            raise ToolError(
                f"the MCP server {self.name} died during the call, which may have had its effect and isn't repeated; "
                f"the next call starts it again ({error})"
            ) from error

    def news(self) -> list[str]:
        """What became known of the server since this was last asked, in sentences."""
        said, self._news = self._news, []
        noise = "" if self._connection is None else self._connection.noise.take()
        return [*said, f"the MCP server {self.name} {noise}"] if noise else said

    async def aclose(self) -> None:
        """End the connection and the process behind it; idempotent."""
        if self._connection is not None:
            await self._connection.aclose()

    async def _open(self) -> None:
        await self.aclose()
        self._news = self.news()
        self._connection = Connection(self.name, self.config, self._environ)
        await self._connection.open()

    async def _restart(self) -> None:
        lost = "" if self._connection is None else self._connection.ending
        if self._restarts == RESTARTS:
            raise ToolError(f"the MCP server {self.name} is gone: it died too often to be started again ({lost})")
        self._restarts += 1
        try:
            await self._open()
        except (ConfigError, ToolError) as error:
            raise ToolError(f"the MCP server {self.name} has died and can't be started again: {error}") from error
        self._news.append(f"the MCP server {self.name} was started again: {lost}")
