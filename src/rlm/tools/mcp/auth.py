"""Logs in to a remote server by the device flow, and renews its tokens. No browser is opened, no port is listened on,
and no token is part of a message.

Sources: RFC 8628 (device flow), RFC 8414 and RFC 9728 (where the endpoints are), RFC 6749, section 6 (renewal).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from rlm.core.exceptions import AuthenticationError
from rlm.tools.mcp.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

S = TypeVar("S", bound=Struct)

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_ANSWER_BYTES = 1_000_000
_SLOWER_S = 5.0
_LONGEST_S = 1800.0


class Endpoints(Struct, frozen=True, kw_only=True):
    """The endpoints of an authorisation server."""

    token_endpoint: str
    device_authorization_endpoint: str | None = None


class _Resource(Struct, frozen=True):
    authorization_servers: list[str] = []


class DeviceCode(Struct, frozen=True, kw_only=True):
    """A device code: what the user is shown, and what the service is polled with. Times are in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float = 600.0
    interval: float = 5.0


class _Grant(Struct, frozen=True, kw_only=True):
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None
    error: str | None = None


async def log_in(server: str, client_id: str, show: Callable[[DeviceCode], None]) -> Token:
    """Fetch a token for the server at that address: `show` tells the user where to agree; then wait until they have.

    Raises:
        AuthenticationError: the server offers no such login, the user or the service refused, or the code expired.
    """
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        endpoints = await _discover(session, server)
        if endpoints.device_authorization_endpoint is None:
            raise AuthenticationError(f"{_host(server)} offers no login by device code; use headers_from with a key")
        asked = {"client_id": client_id, "resource": server}
        answer = await _post(session, endpoints.device_authorization_endpoint, asked)
        code = _decoded(answer, DeviceCode, endpoints.device_authorization_endpoint)
        show(code)
        try:
            async with asyncio.timeout(min(code.expires_in, _LONGEST_S)):
                return await _poll(session, endpoints, code, asked)
        except TimeoutError as error:
            raise AuthenticationError(_REFUSALS["expired_token"]) from error


async def refresh(token: Token) -> Token | None:
    """A new token for an old one; None where it can't be renewed and only a login helps.

    Raises:
        AuthenticationError: the service can't be reached, or its answer can't be read.
    """
    if token.refresh_token is None or token.token_endpoint is None or token.client_id is None:
        return None
    asked = {"grant_type": "refresh_token", "refresh_token": token.refresh_token, "client_id": token.client_id}
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        _require_safe(token.token_endpoint)
        grant = _decoded(await _post(session, token.token_endpoint, asked), _Grant, token.token_endpoint)
    if grant.access_token is None:
        return None
    endpoints = Endpoints(token_endpoint=token.token_endpoint)
    return _token(grant, endpoints, token.client_id, refresh_token=token.refresh_token)


async def _poll(
    session: aiohttp.ClientSession, endpoints: Endpoints, code: DeviceCode, asked: Mapping[str, str]
) -> Token:
    interval_s = max(code.interval, 0.01)
    while True:
        await asyncio.sleep(interval_s)
        form = {**asked, "grant_type": GRANT, "device_code": code.device_code}
        grant = _decoded(await _post(session, endpoints.token_endpoint, form), _Grant, endpoints.token_endpoint)
        if grant.access_token is not None:
            return _token(grant, endpoints, asked["client_id"])
        if grant.error == "slow_down":
            interval_s += _SLOWER_S
        elif grant.error != "authorization_pending":
            raise AuthenticationError(_REFUSALS.get(grant.error or "", "the login service refused the login"))


_REFUSALS = {
    "access_denied": "the login was refused in the browser",
    "expired_token": "the code expired before it was used: log in again",
    "invalid_client": "the login service doesn't know this program: set client_id",
}


def _token(grant: _Grant, endpoints: Endpoints, client_id: str, refresh_token: str | None = None) -> Token:
    assert grant.access_token is not None
    return Token(
        access_token=grant.access_token,
        refresh_token=grant.refresh_token or refresh_token,
        expires_at=None if grant.expires_in is None else time.time() + grant.expires_in,
        token_endpoint=endpoints.token_endpoint,
        client_id=client_id,
    )


async def _discover(session: aiohttp.ClientSession, server: str) -> Endpoints:
    """The endpoints of the service that guards a server: the one that the server names, else the server's own host."""
    _require_safe(server)
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(server))
    issuer = origin
    status, body = await _get(session, f"{origin}/.well-known/oauth-protected-resource")
    if status == 200 and (named := _decoded(body, _Resource, origin).authorization_servers):
        issuer = named[0].rstrip("/")
        _require_safe(issuer)
    where = f"{issuer}/.well-known/oauth-authorization-server"
    status, body = await _get(session, where)
    if status != 200:
        raise AuthenticationError(f"{_host(issuer)} does not say how to log in ({status} for {where})")
    endpoints = _decoded(body, Endpoints, where)
    for endpoint in (endpoints.token_endpoint, endpoints.device_authorization_endpoint):
        if endpoint is not None:
            _require_safe(endpoint)
    return endpoints


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    try:
        async with session.get(url, allow_redirects=False) as answer:
            return answer.status, await _body(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise AuthenticationError(f"{_host(url)} can't be reached: {error}") from error


async def _post(session: aiohttp.ClientSession, url: str, form: Mapping[str, str]) -> bytes:
    try:
        async with session.post(url, data=dict(form), allow_redirects=False) as answer:
            if answer.status >= 500:
                raise AuthenticationError(f"the login service {_host(url)} failed ({answer.status}): try again later")
            return await _body(answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise AuthenticationError(f"the login service {_host(url)} can't be reached: {type(error).__name__}") from error


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.content.readexactly(_ANSWER_BYTES)
    except asyncio.IncompleteReadError as whole:
        return whole.partial


def _decoded(body: bytes, kind: type[S], where: str) -> S:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Not chained: what it could not read may hold a token.
        raise AuthenticationError(
            f"{_host(where)} sent an answer that can't be read as {kind.__name__.lstrip('_')}"
        ) from None


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise AuthenticationError(f"{_host(url)} is not reached over https: no token is sent there")


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the address"
