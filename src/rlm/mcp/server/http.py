"""Serves over HTTP on loopback, to whoever has the token. A page in a browser can reach loopback too, so Host and
Origin are checked, and without the token nothing is answered at all."""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
import socket
from typing import TYPE_CHECKING, Any

from rlm.core.config.files import user_folder
from rlm.core.exceptions import ConfigError
from rlm.mcp.server.clients import SESSION_HEADER, http_owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.mcp.server.sessions import Sessions

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

HOST = "127.0.0.1"
PATH = "/mcp"
TOKEN_VARIABLE = "RLM_MCP_TOKEN"  # noqa: S105 - a name
TOKEN_FILE = "mcp-token"  # noqa: S105
FORGET_AFTER_S = 300.0
TOKEN_CHARS = 16
"""The length that a token must have at least; a shorter one could be guessed."""


def listen(port: int) -> socket.socket:
    """A socket on loopback; port 0 is any that is free. Raises:
    ConfigError: the port is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ConfigError(f"port {port} of {HOST}: {error.strerror}\nname another with --port") from error
    return listening


def url_of(listening: socket.socket) -> str:
    return f"http://{HOST}:{listening.getsockname()[1]}{PATH}"


def token(environ: Mapping[str, str]) -> str:
    """The token of this user's servers: `RLM_MCP_TOKEN`, else the one in the user's state folder, made at first use.

    Raises:
        ConfigError: the token is too short, or can't be stored.
    """
    if given := environ.get(TOKEN_VARIABLE):
        if len(given) < TOKEN_CHARS:
            raise ConfigError(f"{TOKEN_VARIABLE} needs at least {TOKEN_CHARS} characters")
        return given
    folder = user_folder(environ, "XDG_STATE_HOME", ".local/state")
    if folder is None:
        raise ConfigError(f"there is no home folder to store the token in\nset {TOKEN_VARIABLE}")
    try:
        return _stored_token(folder / TOKEN_FILE)
    except OSError as error:
        raise ConfigError(f"{folder / TOKEN_FILE}: {error.strerror}\nset {TOKEN_VARIABLE}") from error


def _stored_token(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "r+", encoding="ascii", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # servers that start together have one token
        os.fchmod(fd, 0o600)
        found = file.read().strip()
        if not found:  # new, or cut off before it was written
            found = secrets.token_urlsafe(32)
            file.write(found + "\n")
            file.flush()
            os.fsync(fd)
    if len(found) < TOKEN_CHARS:
        raise ConfigError(f"{path} holds no valid token\nremove it, and a new one is made")
    return found


async def serve(config: Config, listening: socket.socket, secret: str) -> None:
    """Serve any number of clients until a signal ends the process."""
    import uvicorn

    from rlm.mcp.server.app import App

    app = App(config)
    served = app.server.streamable_http_app(
        host=HOST,
        streamable_http_path=PATH,
        # A client that the SDK has forgotten returns as a new one, without its REPLs: they are to be closed by then.
        session_idle_timeout=config.mcp.session_ttl_s + FORGET_AFTER_S,
    )
    guarded = Guard(served, secret, app.sessions)
    settings = uvicorn.Config(
        guarded, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=2
    )
    await uvicorn.Server(settings).serve(sockets=[listening])


class Guard:
    """Lets requests with the token through, and closes what belongs to clients that say goodbye."""

    def __init__(self, app: Asgi, secret: str, sessions: Sessions) -> None:
        self._app = app
        self._secret = secret.encode()
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http" or not self._is_allowed(headers.get(b"authorization", b"")):
            await _refuse(send)
            return
        if scope["method"] == "DELETE":
            session = headers.get(SESSION_HEADER.encode(), b"").decode("latin-1")
            await self._sessions.drop(http_owner(session))
        await self._app(scope, receive, send)

    def _is_allowed(self, given: bytes) -> bool:
        scheme, _, secret = given.partition(b" ")  # a scheme may be written in any case
        return hmac.compare_digest(secret.strip(), self._secret) and scheme.lower() == b"bearer"


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b"the token is missing or wrong"})
