"""Connects to a server that runs elsewhere: its headers, and the token of a login, which is renewed when it expires.

Secrets come from the environment or the token file, and go over https, or to this machine, and nowhere else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
from mcp.client.streamable_http import streamable_http_client

from rlm.core.exceptions import ConfigError
from rlm.tools.mcp.auth import refresh
from rlm.tools.mcp.tokens import Token, TokenFile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AsyncExitStack

    from mcp.client._transport import Transport

    from rlm.core.config import McpServerConfig

_CONNECT_S = 15.0
_UNAUTHORISED = 401


async def remote_transport(
    name: str, config: McpServerConfig, environ: Mapping[str, str], stack: AsyncExitStack
) -> Transport:
    """The transport to a remote server; it is closed with `stack`.

    Raises:
        ConfigError: the address, a header or the token can't be used.
    """
    assert config.url is not None
    headers = _headers(name, config, environ)
    auth = TokenAuth(name, config.url, TokenFile.of(config.token_file, environ)) if config.login else None
    _check_address(name, config.url, secret=bool(headers) or config.login)
    if auth is not None:
        auth.check()
    timeout = httpx2.Timeout(config.timeout_s, connect=_CONNECT_S)
    client = httpx2.AsyncClient(headers=headers, auth=auth, timeout=timeout, trust_env=True)
    await stack.enter_async_context(client)
    return streamable_http_client(config.url, http_client=client)


class TokenAuth(httpx2.Auth):
    """Adds the token of a login to requests, and renews it when it has expired or is refused."""

    requires_response_body = False

    def __init__(self, name: str, server: str, tokens: TokenFile) -> None:
        self._name = name
        self._server = server
        self._tokens = tokens
        self._renewing = asyncio.Lock()

    def check(self) -> Token:
        """The token in the file.

        Raises:
            ConfigError: there is no token for this server.
        """
        token = self._tokens.read(self._server)
        if token is None:
            raise ConfigError(f"there is no login for the MCP server {self._name}: rlm mcp login {self._name}")
        return token

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = self.check()
        if token.expired:
            token = await self._renewed(token)
        request.headers["Authorization"] = f"Bearer {token.access_token}"
        response = yield request
        if response.status_code == _UNAUTHORISED:
            request.headers["Authorization"] = f"Bearer {(await self._renewed(token)).access_token}"
            yield request

    async def _renewed(self, token: Token) -> Token:
        """A new token, which another request may have fetched meanwhile; the old one if it can't be renewed."""
        async with self._renewing:
            current = self.check()
            if current.access_token != token.access_token:
                return current
            renewed = await refresh(token)
            if renewed is None:
                return token
            self._tokens.write(self._server, renewed)
            return renewed


def _headers(name: str, config: McpServerConfig, environ: Mapping[str, str]) -> dict[str, str]:
    missing = [variable for variable in config.headers_from.values() if not environ.get(variable)]
    if missing:
        raise ConfigError(f"[mcp_servers.{name}] headers_from: {', '.join(missing)} is not set")
    for variable in config.headers_from.values():
        if not (environ[variable].isascii() and environ[variable].isprintable()):  # else an error would show it
            raise ConfigError(f"[mcp_servers.{name}] headers_from: {variable} holds what no header can")
    return {header: environ[variable] for header, variable in config.headers_from.items()}


def _check_address(name: str, url: str, *, secret: bool) -> None:
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ConfigError(f"[mcp_servers.{name}] url: expected https://host/path, without a user or a key in it")
    if secret and parts.scheme != "https" and not local:
        raise ConfigError(f"[mcp_servers.{name}] url: a key or a token goes over https only")
