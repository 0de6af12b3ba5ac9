"""The MCP servers of a configuration: started with the first run that needs them, kept for the next, and reported if
they don't work. A server can't make a run fail."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.plain import one_line
from rlm.tools.mcp.connection import MOST_TOOLS
from rlm.tools.mcp.kept import KeptServer
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
        self._servers = {name: KeptServer(name, config, environ) for name, config in configured.items()}
        self._opening = asyncio.Lock()

    async def start(self) -> tuple[list[McpTool], list[str]]:
        """Connect to the servers that aren't connected, all at the same time; returns all tools, and warnings."""
        async with self._opening:
            servers = list(self._servers.values())
            outcomes = await asyncio.gather(*map(_started, servers))
        warnings = [
            f"the MCP server {server.name} is left out: {said}"
            for server, said in zip(servers, outcomes, strict=True)
            if said
        ]
        tools: dict[str, McpTool] = {}
        for server in servers:
            if server.usable:
                warnings += _add_tools(tools, server)
        return list(tools.values()), warnings

    def news(self) -> list[str]:
        """What became known of the servers since this was last asked, a sentence each."""
        return [said for server in self._servers.values() for said in server.news()]

    async def aclose(self) -> None:
        """End every connection and the processes behind them; idempotent."""
        await asyncio.gather(*(server.aclose() for server in self._servers.values()))


async def _started(server: KeptServer) -> str:
    """Connect to a server; returns what is wrong with it, or an empty text."""
    try:
        await server.start()
    except (ConfigError, ToolError) as error:
        return str(error)
    return ""


def _add_tools(tools: dict[str, McpTool], kept: KeptServer) -> list[str]:
    """Add the tools of a server to `tools`; returns warnings of those that are left out."""
    warnings, server = [], kept.name
    for tool in kept.tools:
        try:
            spec = spec_of(server, tool)
        except ToolError as error:
            warnings.append(f"the tool {one_line(tool.name, 64)} of the MCP server {server} is left out: {error}")
            continue
        if spec.name in tools:
            warnings.append(f"the MCP server {server} has two tools that would be named {spec.name}: one is left out")
            continue
        tools[spec.name] = McpTool(server=kept, remote_name=tool.name, spec=spec, writes_files=writes_files(tool))
    absent = set(kept.config.tools or ()) - {tool.name for tool in kept.tools}
    if absent:
        warnings.append(f"the MCP server {server} has no tool {', '.join(sorted(absent))}")
    if len(kept.tools) >= MOST_TOOLS:
        warnings.append(f"the MCP server {server} has more tools than are read: name those that you need in tools")
    return warnings
