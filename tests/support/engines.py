"""What the tests of the Docker sandbox share: the engine as a test sees it, and a proxy that can be taken away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from rlm.core.config import DockerConfig
from rlm.core.types import ReplSpec
from rlm.repl.docker.launcher import DOCKER
from rlm.repl.live import Limits
from rlm.repl.sandbox import HostedSandbox
from tests.support.required import TEST_IMAGE


async def no_call(*_: object) -> None:
    raise AssertionError("nothing is bound")


SPEC = ReplSpec(call=no_call)


@asynccontextmanager
async def sandbox(limits: Limits | None = None, **settings: Any) -> AsyncIterator[HostedSandbox]:
    """A Docker sandbox with the image of the tests; not started."""
    running = DOCKER.sandbox(DockerConfig(**{"image": TEST_IMAGE, "warm": 0, **settings}), limits)
    try:
        yield running
    finally:
        await running.aclose()


@contextlib.contextmanager
def client() -> Any:
    """docker-py's low-level client of the machine's engine."""
    import docker

    api = docker.APIClient(version="auto", **docker.utils.kwargs_from_env())
    try:
        yield api
    finally:
        api.close()


def containers(label: str) -> list[str]:
    """The ids of all containers with that label, `name` or `name=value`."""
    with client() as api:
        return [found["Id"] for found in api.containers(all=True, filters={"label": label})]


async def until_none(label: str) -> None:
    """Wait until no container has that label."""
    while await asyncio.to_thread(containers, label):
        await asyncio.sleep(0.02)


class Proxy:
    """Stands before the machine's engine, on TCP at loopback; `stop` is an engine that goes away."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._behind = ""
        self.address = ""

    async def __aenter__(self) -> Proxy:
        self._behind = _socket_path()
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Cut every connection and take no more; may be called on any event loop."""
        assert self._loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._stop(), self._loop))

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            behind, towards = await asyncio.open_unix_connection(self._behind)
            self._open |= {writer, towards}
            try:
                await asyncio.gather(_pump(reader, towards), _pump(behind, writer))
            finally:
                for each in (writer, towards):
                    each.close()
                    self._open.discard(each)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(1 << 16):
        writer.write(block)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _socket_path() -> str:
    with client() as api:
        adapter: Any = api._custom_adapter
        return str(urlsplit(f"unix://{adapter.socket_path}").path)


def parsed(output: str) -> Any:
    """What a cell printed as JSON."""
    return json.loads(output)
