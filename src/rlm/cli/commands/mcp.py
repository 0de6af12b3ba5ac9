"""`rlm mcp`: the MCP servers whose tools runs may use: which there are, and logging in to them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rlm.core.config import Config, McpServerConfig
    from rlm.tools.mcp.auth import DeviceCode

BROKEN = 1


def list_servers() -> int:
    """Start the configured MCP servers, and list the tools that runs get from them.

    Exits 1 if one of them doesn't work.
    """
    from rlm.cli.console import say, write_out
    from rlm.core.config import Config
    from rlm.core.plain import plain

    config = Config.load().config
    if not config.mcp_servers:
        say("no MCP server is configured: add [mcp_servers.NAME] to rlm.toml")
        return 0
    lines, warnings, news = asyncio.run(_found(config))
    for line in lines:
        write_out(plain(line) + "\n")
    for said in (*warnings, *news):
        say(plain(said))
    return BROKEN if warnings else 0


def login(name: Annotated[str, typer.Argument(metavar="NAME", help="The NAME of [mcp_servers.NAME].")]) -> int:
    """Log in to a remote MCP server, in a browser on any device.

    Shows an address and a code, and waits until you have agreed there. The token is kept in the server's token_file,
    which nobody else can read.
    """
    from rlm.cli.console import say
    from rlm.core.config import Config
    from rlm.tools.mcp.auth import log_in
    from rlm.tools.mcp.tokens import TokenFile

    server = _remote(name, Config.load().config)
    assert server.url is not None
    tokens = TokenFile.of(server.token_file, os.environ)
    tokens.read(server.url)  # it must be the user's alone before a token is fetched for it
    tokens.write(server.url, asyncio.run(log_in(server.url, server.client_id, _show)))
    say(f"logged in to {name}; the token is in {tokens.path}")
    if not server.login:
        say(f"set login = true in [mcp_servers.{name}] to have it used")
    return 0


def _remote(name: str, config: Config) -> McpServerConfig:
    from rlm.core.exceptions import ConfigError

    server = config.mcp_servers.get(name)
    if server is None:
        known = ", ".join(config.mcp_servers)
        others = f"there are: {known}" if known else "no MCP server is configured"
        raise ConfigError(f"there is no [mcp_servers.{name}]; {others}")
    if server.url is None:
        raise ConfigError(f"[mcp_servers.{name}] has no url: only remote servers have logins")
    return server


def _show(code: DeviceCode) -> None:
    from rlm.cli.console import say
    from rlm.core.plain import plain

    say(f"open {plain(code.verification_uri_complete or code.verification_uri)}")
    say(f"and enter the code {plain(code.user_code)}")


async def _found(config: Config) -> tuple[list[str], list[str], list[str]]:
    """The tools, what is wrong with servers, and what they did besides."""
    from rlm.tools.mcp.connected_tools import servers_of

    servers = servers_of(config)
    try:
        tools, warnings = await servers.start()
        return [f"{tool.spec.name}  {tool.spec.description}" for tool in tools], warnings, servers.news()
    finally:
        await servers.aclose()
