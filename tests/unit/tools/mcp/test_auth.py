"""Logins to remote MCP servers, against a local authorisation server, and the file that their tokens are kept in."""

from __future__ import annotations

import json
import time
import traceback
from pathlib import Path

import pytest

from rlm.core.config import McpServerConfig
from rlm.core.exceptions import AuthenticationError, ConfigError
from rlm.tools.mcp.auth import GRANT, DeviceCode, log_in, refresh
from rlm.tools.mcp.servers import McpServers
from rlm.tools.mcp.tokens import Token, TokenFile
from tests.servers.mcp_servers import over_http
from tests.servers.oauth_server import OAuthServer, oauth_server

SERVER = "https://mcp.example.com/mcp"


def old_token(server: OAuthServer, access_token: str = "old") -> Token:
    endpoint = f"{server.url}/token"
    return Token(access_token=access_token, refresh_token="r", token_endpoint=endpoint, client_id="rlm-runtime")


async def test_the_device_flow_shows_a_code_waits_and_gets_a_token() -> None:
    shown: list[DeviceCode] = []
    async with oauth_server("authorization_pending", "authorization_pending") as server:
        token = await log_in(server.url, "rlm-runtime", shown.append)
    assert [code.user_code for code in shown] == ["ABCD-EFGH"]
    assert (token.access_token, token.refresh_token) == ("access-1", "refresh-1")
    assert not token.expired
    assert server.forms[0] == {"client_id": "rlm-runtime", "resource": server.url}
    assert [form["grant_type"] for form in server.forms[1:]] == [GRANT] * 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("access_denied", "refused in the browser"),
        ("expired_token", "log in again"),
        ("invalid_client", "client_id"),
        ("something_new", "refused the login"),
        ("nonsense", "can't be read as Grant"),
        ("broken", "failed"),
    ],
)
async def test_a_login_that_fails_says_why(answer: str, words: str) -> None:
    async with oauth_server(answer) as server:
        with pytest.raises(AuthenticationError, match=words) as caught:
            await log_in(server.url, "c", lambda code: None)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


async def test_a_code_that_nobody_uses_in_time_is_told() -> None:
    async with oauth_server() as server:
        server.interval_s, server.code_lasts_s = 60.0, 0.01
        with pytest.raises(AuthenticationError, match="log in again"):
            await log_in(server.url, "c", lambda code: None)


async def test_a_server_without_such_a_login_is_told() -> None:
    async with oauth_server() as server:
        server.metadata = 404
        with pytest.raises(AuthenticationError, match="does not say how to log in"):
            await log_in(server.url, "c", lambda code: None)


@pytest.mark.parametrize("url", ["http://mcp.example.com/mcp", "ftp://x", "nonsense"])
async def test_no_login_goes_over_a_plain_connection(url: str) -> None:
    with pytest.raises(AuthenticationError, match="https"):
        await log_in(url, "c", lambda code: None)


async def test_a_token_is_renewed_and_one_that_cannot_be_is_told() -> None:
    async with oauth_server() as server:
        renewed = await refresh(old_token(server))
        assert renewed is not None
        assert (renewed.access_token, renewed.refresh_token) == ("access-1", "refresh-1")
        server.refreshable = False
        assert await refresh(old_token(server)) is None
    assert await refresh(Token(access_token="a")) is None


async def test_a_remote_server_gets_the_token_and_it_is_renewed_where_it_is_refused(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    async with oauth_server() as login, over_http({"token": "access-1"}) as url:
        file.write(url, old_token(login))
        config = McpServerConfig(url=url, login=True, token_file=str(file.path))
        servers = McpServers({"calc": config}, {})
        tools, warnings = await servers.start()
        assert warnings == []
        assert await next(tool for tool in tools if tool.remote_name == "add").call({"a": 1, "b": 2}) == "3"
        await servers.aclose()
    kept = file.read(url)
    assert kept is not None
    assert (kept.access_token, login.issued) == ("access-1", 1)


async def test_a_token_that_is_refused_for_good_is_a_warning_without_the_token(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    async with over_http({"token": "another"}) as url:
        file.write(url, Token(access_token="my-secret-token"))
        config = McpServerConfig(url=url, login=True, token_file=str(file.path))
        servers = McpServers({"calc": config}, {})
        tools, warnings = await servers.start()
        await servers.aclose()
    assert tools == []
    assert len(warnings) == 1
    assert "secret" not in warnings[0]


def test_tokens_are_kept_by_server_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    file = TokenFile.of("~/.snipara/tokens.json", {"HOME": str(tmp_path)})
    assert file.read(SERVER) is None
    file.write(SERVER, Token(access_token="a"))
    file.write("https://other", Token(access_token="b"))
    assert [file.read(server).access_token for server in (SERVER, "https://other")] == ["a", "b"]
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_with_one_token_is_read_and_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"access_token": "a", "expires_at": time.time() - 1, "scope": "x"}))
    path.chmod(0o600)
    token = TokenFile(path).read(SERVER)
    assert token is not None
    assert token.expired
    TokenFile(path).write(SERVER, Token(access_token="b"))
    assert json.loads(path.read_text())["scope"] == "x"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens.json"
    path.write_text('{"access_token": "a"}')
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        TokenFile(path).read(SERVER)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"servers": 3}', '{"access_token": 3}', "[" * 99_999])
def test_a_file_of_something_else_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokens.json"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(ConfigError, match="log in again"):
        TokenFile(path).read(SERVER)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        TokenFile(tmp_path / "tokens.json").read(SERVER)


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(Token(access_token="secret", refresh_token="secret"))
