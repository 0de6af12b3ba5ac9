"""The service as a process: what it listens on, the file that says so, and how it begins and ends."""

from __future__ import annotations

import asyncio
import os
import select
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.core.whole_files import replace_file
from rlm.service import executions, openai, rest, websocket
from rlm.service.desk import Desk
from rlm.service.guards import DESK, LISTS, LOCAL, guards
from rlm.service.lists import Lists
from rlm.service.openapi import described
from rlm.service.state import ServiceState
from rlm.service.tokens import OWNER, Caller, Doorkeeper, Rights, owner_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.interfaces import Backend

SHUTDOWN_S = 1.0
"""How long open connections may take to end once the service stops, in seconds."""


class Serving(Struct, frozen=True, kw_only=True):
    """A service that runs, as its file says."""

    pid: int
    url: str


def serving_path(folder: Path) -> Path:
    """The file that says which service runs."""
    return folder / "serving.json"


def read_serving(folder: Path) -> Serving | None:
    """The service that runs with that folder; None where none does."""
    try:
        found = msgspec.json.decode(serving_path(folder).read_bytes(), type=Serving)
        process = os.pidfd_open(found.pid)
    except (OSError, msgspec.MsgspecError):
        return None
    try:  # one that has ended may wait long for its parent to take note
        return None if select.select([process], [], [], 0)[0] else found
    finally:
        os.close(process)


@asynccontextmanager
async def serving(config: Config, folder: Path, backend: Backend | None = None) -> AsyncIterator[Serving]:
    """Serve for as long as the body runs; `backend` serves every model, None: those of the configuration.

    Raises:
        ConfigError: the address can't be had.
        StoreError: there is no state to be kept.
    """
    service, state = config.service, ServiceState(folder)
    try:
        keeper = Doorkeeper(state, owner_token(folder), config.allowed_paths)
        desk = Desk(config, state, folder, backend)
        lists = Lists(desk)
        runner = web.AppRunner(
            _app(config, desk, lists, keeper), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        try:
            url = await _listen(runner, service.host, service.port)
            callers = _callers(state, config)
            await desk.take_up(callers)
            await lists.take_up(callers)
            yield Serving(pid=os.getpid(), url=url)
        finally:
            await _stop(runner, desk, lists, service.drain_s)
    finally:
        state.close()


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


def _app(config: Config, desk: Desk, lists: Lists, keeper: Doorkeeper) -> web.Application:
    service = config.service
    hosts = LOCAL | {service.host.lower(), *(name.lower() for name in service.allowed_hosts)}
    app = web.Application(middlewares=guards(keeper, frozenset(hosts)), client_max_size=service.body_bytes)
    app[DESK], app[LISTS] = desk, lists
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
