"""The tools of the MCP servers that a configuration names, as a runtime has them: connected at the first run, kept for
the next. The package that speaks the protocol is an extra, and is imported only where servers are configured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.core.extras import install_command

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.core.interfaces import Tool
    from rlm.tools.mcp.servers import McpServers
    from rlm.tools.registry import ToolRegistry


class ConnectedTools:
    """The tools that the servers of one configuration offer; used on one event loop only."""

    def __init__(self) -> None:
        self._servers: McpServers | None = None
        self.tools: tuple[Tool, ...] = ()
        self.warnings: tuple[str, ...] = ()
        """What is wrong with servers and their tools; each run warns of it at its beginning."""

    async def start(self, config: Config) -> None:
        """Connect to the servers that aren't connected; a server that doesn't work is a warning.

        Raises:
            ConfigError: the extra isn't installed, or a server's name can't be used.
        """
        if not config.mcp_servers:
            return
        if self._servers is None:
            self._servers = servers_of(config)
        tools, warnings = await self._servers.start()
        self.tools, self.warnings = tuple(tools), tuple(warnings)

    def news(self) -> list[str]:
        """What became known of the servers since this was last asked: each run warns of it at its end."""
        return [] if self._servers is None else self._servers.news()

    async def aclose(self) -> None:
        """End connections and servers; idempotent."""
        if self._servers is not None:
            await self._servers.aclose()


def servers_of(config: Config) -> McpServers:
    """The servers of a configuration, not yet started.

    Raises:
        ConfigError: the extra isn't installed, or a server's name can't be used.
    """
    try:
        from rlm.tools.mcp.servers import McpServers  # an extra, and slow to import
    except ImportError as error:
        raise ConfigError(f"[mcp_servers] needs the package mcp\n{install_command('mcp')}") from error
    return McpServers(config.mcp_servers, os.environ)


def within_reach(names: tuple[str, ...], config: Config, tools: ToolRegistry) -> tuple[str, ...]:
    """`names` without the tools of servers that can't be reached just now, of which a warning tells."""
    servers = {server.replace("-", "_") for server in config.mcp_servers}
    return tuple(name for name in names if name in tools or name.partition("__")[0] not in servers)
