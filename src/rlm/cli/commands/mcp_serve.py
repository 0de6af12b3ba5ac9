"""`rlm mcp-serve`: the sandboxed REPL for Claude Code and other hosts, over the Model Context Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from rlm.cli.options import BudgetOptions, ModelOptions, Overrides, PlaceOptions, SandboxOptions

if TYPE_CHECKING:
    from rlm.core.config import Config

DEFAULT_PORT = 8377


def mcp_serve(
    sandbox: SandboxOptions,
    models: ModelOptions,
    budget: BudgetOptions,
    places: PlaceOptions,
    http: Annotated[bool, Option("--http", help="Serve over HTTP on loopback instead of stdin and stdout.")] = False,
    port: Annotated[
        int, Option("--port", metavar="N", help="With --http: the port; 0 takes any free one.")
    ] = DEFAULT_PORT,
) -> int:
    """Serve a persistent, sandboxed REPL to Claude Code or another MCP host.

    Needs no API key: where no model is set, or with --model host, the host's own model answers what code asks by
    llm_query. rlm init --claude adds the server to a project. With --http, clients need the token shown on stderr.
    """
    import asyncio

    from rlm.processes import own_streams

    wire = None if http else own_streams.reserve()  # before anything that may print
    config = _config(Overrides.of(sandbox, models, budget, places))
    if wire is None:
        return _serve_http(config, port)
    from rlm.mcp.server import stdio

    asyncio.run(stdio.serve(config, wire))
    return 0


def _config(given: Overrides) -> Config:
    from importlib.util import find_spec

    from rlm.cli.console import warn
    from rlm.core.exceptions import ConfigError
    from rlm.core.extras import install_command

    loaded = given.load()
    for warning in loaded.warnings:
        warn(warning)
    if find_spec("mcp") is None:
        raise ConfigError(f"the MCP server needs a package that is not installed\n{install_command('mcp')}")
    return loaded.config


def _serve_http(config: Config, port: int) -> int:
    import asyncio
    import os

    from rlm.cli.console import say
    from rlm.mcp.server import http

    secret = http.token(os.environ)
    with http.listen(port) as listening:
        say(f"serving {http.url_of(listening)}, with the header\n  Authorization: Bearer {secret}")
        asyncio.run(http.serve(config, listening, secret))
    return 0
