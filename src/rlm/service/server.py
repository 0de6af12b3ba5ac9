"""The service as a process: what it listens on, the file that says so, and how it begins and ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from rlm.core.exceptions import ConfigError
from rlm.core.whole_files import replace_file
from rlm.runtime.serving import Serving, read_serving, serving_path
from rlm.service import executions, openai, rest, websocket
from rlm.service.desk import Desk
from rlm.service.guards import DESK, KEEPER, LISTS, LOCAL, guards
from rlm.service.lists import Lists
from rlm.service.openapi import described
from rlm.service.state import ServiceState
from rlm.service.tokens import OWNER, Caller, Doorkeeper, Rights, owner_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.interfaces import Backend

SHUTDOWN_S = 1.0
"""How long open connections may take to end once the service stops, in seconds."""

LINGER_S = 10.0
"""How long the rest of a request that was refused is read, so that its client reads why, in seconds."""


@asynccontextmanager
async def serving(config: Config, folder: Path, backend: Backend | None = None) -> AsyncIterator[Serving]:
    """Serve for as long as the body runs; `backend` serves every model, None: those of the configuration.

    Raises:
        ConfigError: the address can't be had, or another process serves with that state.
        StoreError: there is no state to be kept.
    """
    service = config.service
    with _alone(folder), closing(ServiceState(folder)) as state:
        keeper, is_ready = Doorkeeper(state, owner_token(folder), config.allowed_paths), asyncio.Event()
        desk = Desk(config, state, folder, backend)
        lists = Lists(desk)
        runner = web.AppRunner(
            _app(desk, lists, keeper, is_ready),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_S,
            keepalive_timeout=service.read_s,  # which bounds the headers of a request too
            lingering_time=min(LINGER_S, service.read_s),
        )
        await runner.setup()
        try:
            url = await _listen(runner, service.host, service.port)
            callers = _callers(state, config)
            await desk.take_up(callers)
            await lists.take_up(callers)
            is_ready.set()
            yield Serving(pid=os.getpid(), url=url)
        finally:
            await _stop(runner, desk, lists, service.drain_s)


@asynccontextmanager
async def announced(found: Serving, folder: Path) -> AsyncIterator[None]:
    """Have the file say that this service runs, for as long as the body does."""
    path = serving_path(folder)
    await asyncio.to_thread(replace_file, path, msgspec.json.encode(found))
    try:
        yield
    finally:
        if read_serving(folder) == found:
            path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Have the state to this process alone, for two would make the same runs.

    Raises:
        ConfigError: another process has it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        said = f"another process serves with the state in {folder}"
        raise ConfigError(f"{said}\nrlm serve status shows it, rlm serve stop ends it") from error
    finally:
        os.close(descriptor)


def _app(desk: Desk, lists: Lists, keeper: Doorkeeper, is_ready: asyncio.Event) -> web.Application:
    service = desk.config.service
    hosts = LOCAL | {service.host.lower(), *(name.lower() for name in service.allowed_hosts)}
    middlewares = guards(keeper, frozenset(hosts), is_ready)
    app = web.Application(middlewares=middlewares, client_max_size=service.body_bytes)
    app[DESK], app[LISTS], app[KEEPER] = desk, lists, keeper
    endpoints = [each for face in (rest, openai, websocket, executions) for each in face.endpoints()]
    app.add_routes(each.route for each in (*endpoints, described(endpoints)))
    return app


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    site = web.TCPSite(runner, host, port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        said = f"{host}, port {port}, can't be listened on: {error.strerror}"
        raise ConfigError(f"{said}\nrlm serve status shows whether a service runs; --port names another") from error
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{runner.addresses[0][1]}"


async def _stop(runner: web.AppRunner, desk: Desk, lists: Lists, drain_s: float) -> None:
    """Take nothing more, let runs end for a while, tell readers goodbye, and leave the rest to be resumed."""
    with suppress(asyncio.CancelledError):
        for site in tuple(runner.sites):
            await site.stop()
    await desk.drain(drain_s)
    await runner.cleanup()
    await lists.aclose()
    await desk.aclose()


def _callers(state: ServiceState, config: Config) -> dict[str, Caller]:
    """Everybody with a valid token, by name."""
    owner = Caller(name=OWNER, rights=Rights(folders=config.allowed_paths))
    others = [
        Caller(name=row.name, rights=msgspec.json.decode(row.rights, type=Rights))
        for row in state.tokens()
        if row.revoked_at is None
    ]
    return {caller.name: caller for caller in (owner, *others)}
