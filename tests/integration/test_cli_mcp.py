"""`rlm mcp` as a process: which tools there are, and a login against a local authorisation server."""

from __future__ import annotations

import asyncio
import json

import pytest

from rlm.cli.reference import toml_value
from tests.integration.cli import User
from tests.servers.mcp_servers import argv
from tests.servers.oauth_server import oauth_server


def configure(user: User, *lines: str) -> None:
    """In the user's own file, which needs no trust."""
    path = user.home / ".config/rlm/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines))


def command(name: str) -> str:
    return f"command = {toml_value(list(argv(name)))}"


def test_the_tools_of_servers_are_listed_and_broken_ones_are_named(user: User) -> None:
    configure(user, "[mcp_servers.calc]", command("good"), 'tools = ["add"]', "[mcp_servers.gone]", command("exits"))
    done = user.rlm("mcp", "list")
    assert done.returncode == 1
    assert done.stdout.startswith("calc__add  Add two numbers.")
    assert "the MCP server gone is left out: it ended with exit code 1; its last lines:\n  it broke" in done.stderr


def test_without_servers_it_says_how_to_have_some(user: User) -> None:
    done = user.rlm("mcp", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "[mcp_servers.NAME]" in done.stderr


def test_a_server_of_a_strangers_project_is_not_started(user: User) -> None:
    user.write("rlm.toml", f"[mcp_servers.calc]\n{command('good')}\n")
    done = user.rlm("mcp", "list")
    assert done.returncode == 2
    assert "rlm trust" in done.stderr


async def test_a_login_shows_where_to_agree_and_keeps_the_token(user: User) -> None:
    async with oauth_server("authorization_pending") as server:
        configure(user, "[mcp_servers.far]", f'url = "{server.url}/mcp"', "login = true")
        done = await asyncio.to_thread(user.rlm, "mcp", "login", "far")
    assert done.returncode == 0, done.stderr
    assert "ABCD-EFGH" in done.stderr
    assert "access-1" not in done.stdout + done.stderr
    kept = user.home / ".snipara/tokens.json"
    assert json.loads(kept.read_text())["servers"][f"{server.url}/mcp"]["access_token"] == "access-1"
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("name", "words"), [("absent", "there are: calc"), ("calc", "has no url")])
def test_only_a_remote_server_that_there_is_has_a_login(user: User, name: str, words: str) -> None:
    configure(user, "[mcp_servers.calc]", command("good"))
    done = user.rlm("mcp", "login", name)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_login_without_any_server_says_so(user: User) -> None:
    done = user.rlm("mcp", "login", "absent")
    assert done.returncode == 2
    assert "no MCP server is configured" in done.stderr
