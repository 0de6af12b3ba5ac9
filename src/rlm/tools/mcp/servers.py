"""The MCP servers of a configuration: started with the first run that needs them, kept for the next, and reported if
they don't work. A server can't make a run fail."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.plain import one_line
from rlm.tools.mcp.connection import MOST_TOOLS, Connection
from rlm.tools.mcp.tool import McpTool, spec_of, writes_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.config import McpServerConfig

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


class McpServers:
    """The servers of one configuration, on one event loop."""

    def __init__(self, configured: Mapping[str, McpServerConfig], environ: Mapping[str, str]) -> None:
        """Raises:
        ConfigError: a name can't be part of a tool's name.
        """
        for name in configured:
            if not _NAME.fullmatch(name) or "__" in name:
                raise ConfigError(f"[mcp_servers.{name}]: a name has up to 32 letters, digits, - and single _")
        self._configured = configured
        self._environ = environ
        self._connections: dict[str, Connection] = {}
        self._opening = asyncio.Lock()

    async def start(self) -> tuple[list[McpTool], list[str]]:
        """Connect to the servers that aren't connected, all at the same time; returns all tools, and warnings."""
        async with self._opening:
            missing = [name for name in self._configured if not self._is_usable(name)]
            outcomes = dict(zip(missing, await asyncio.gather(*map(self._open, missing)), strict=True))
        warnings = [f"the MCP server {name} is left out: {said}" for name, said in outcomes.items() if said]
        tools: dict[str, McpTool] = {}
        for name in self._configured:
            if self._is_usable(name):
                warnings += _add_tools(tools, self._connections[name])
        return list(tools.values()), warnings

    async def aclose(self) -> None:
        """End every connection and the processes behind them; idempotent."""
        closing, self._connections = self._connections, {}
        await asyncio.gather(*(connection.aclose() for connection in closing.values()))

    def _is_usable(self, name: str) -> bool:
        return name in self._connections and self._connections[name].usable

    async def _open(self, name: str) -> str:
        """Connect to a server; returns what is wrong with it, or an empty text."""
        if (broken := self._connections.pop(name, None)) is not None:
            await broken.aclose()
        connection = Connection(name, self._configured[name], self._environ)
        self._connections[name] = connection
        try:
            await connection.open()
        except (ConfigError, ToolError) as error:
            return str(error)
        return ""


def _add_tools(tools: dict[str, McpTool], connection: Connection) -> list[str]:
    """Add the tools of a server to `tools`; returns warnings of those that are left out."""
    warnings, server = [], connection.name
    for tool in connection.tools:
        try:
            spec = spec_of(server, tool)
        except ToolError as error:
            warnings.append(f"the tool {one_line(tool.name, 64)} of the MCP server {server} is left out: {error}")
            continue
        if spec.name in tools:
            warnings.append(f"the MCP server {server} has two tools that would be named {spec.name}: one is left out")
            continue
        tools[spec.name] = McpTool(
            connection=connection, remote_name=tool.name, spec=spec, writes_files=writes_files(tool)
        )
    absent = set(connection.config.tools or ()) - {tool.name for tool in connection.tools}
    if absent:
        warnings.append(f"the MCP server {server} has no tool {', '.join(sorted(absent))}")
    if len(connection.tools) >= MOST_TOOLS:
        warnings.append(f"the MCP server {server} has more tools than are read: name those that you need in tools")
    return warnings
