"""The one way out of a machine without a network: sockets of this host, one for a model's API, one for named hosts.

The key of the API is added here and is never on the machine. A tunnel is made to a named host alone, on port 443, to an
address that is looked up here and belongs to the public internet; what is said in it is between the two. Every request
is put down, without its content.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.workspaces.values import API_PORT, EGRESS_FOLDER, HOSTS_PORT, Mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp import web

_API, _HOSTS = "api.sock", "hosts.sock"
_HTTPS = 443
_BODY_BYTES = 64 << 20
_HEAD_BYTES = 1 << 14
_HEAD_S = 30.0
_CONNECT_S = 30.0
_IDLE_S = 600.0
_AT_ONCE = 64
_LINES = 100_000
"""The most requests that are put down."""
_PIECE_BYTES = 1 << 16
_HOP = frozenset({"connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"})
_OURS = frozenset({"host", "content-length", "x-api-key", "authorization", "cookie"})
"""Headers of a request that are not passed on: what the machine says there is replaced or left out."""
_OWN = f"http://127.0.0.1:{API_PORT}"
_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An API to which requests are passed on, with its key."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    paths: tuple[str, ...]
    """What may be asked for, and what is below each."""

    def has(self, target: str) -> bool:
        """Whether a path, with what may follow it, may be asked for."""
        path = target.partition("?")[0]
        return any(path == each or path.startswith(f"{each}/") for each in self.paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """What a machine needs for its way out, and what the processes on it do."""

    mount: Mount
    ports: Mapping[int, str]
    environment: Mapping[str, str]


def is_host(name: str) -> bool:
    """Whether `name` can be allowed: the name of a host, or `*.` and the end of one."""
    return _HOST.fullmatch(name) is not None


@asynccontextmanager
async def way_out(upstream: Upstream | None, hosts: tuple[str, ...], log: Path) -> AsyncIterator[WayOut]:
    """Listen while the body runs; a line for each request goes into `log`. Raises:
    OSError: the sockets or the log can't be made.
    """
    with tempfile.TemporaryDirectory(prefix="rlm-egress-") as private:
        folder = Path(private) / "sockets"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)  # whatever the umask: the machine's users are others; what it is in is for nobody else here
        async with _listening(folder, upstream, hosts, log):
            proxy = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://127.0.0.1:{HOSTS_PORT}")
            yield WayOut(
                mount=Mount(source=str(folder), target=EGRESS_FOLDER),
                ports={API_PORT: f"{EGRESS_FOLDER}/{_API}", HOSTS_PORT: f"{EGRESS_FOLDER}/{_HOSTS}"},
                environment=proxy if hosts else {},
            )


@asynccontextmanager
async def _listening(folder: Path, upstream: Upstream | None, hosts: tuple[str, ...], log: Path) -> AsyncIterator[None]:
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, web

    journal = _Journal(log)
    timeout = ClientTimeout(total=None, connect=_CONNECT_S, sock_read=_IDLE_S)
    async with ClientSession(timeout=timeout, auto_decompress=False, cookie_jar=DummyCookieJar()) as session:
        api = web.Server(_Api(upstream, session, journal).answer)
        runner = web.ServerRunner(api, shutdown_timeout=1.0)
        await runner.setup()
        await web.UnixSite(runner, str(folder / _API)).start()
        tunnels = _Tunnels(hosts, folder / _API, journal)
        server = await asyncio.start_unix_server(tunnels.serve, folder / _HOSTS, limit=_HEAD_BYTES)
        for name in (_API, _HOSTS):
            (folder / name).chmod(0o666)
        try:
            yield
        finally:
            server.close()
            tunnels.close()
            await runner.cleanup()
            journal.close()


class _Journal:
    """What was asked for, a line of JSON each."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        path.chmod(0o600)
        self._left = _LINES

    def put(self, **said: Any) -> None:
        self._left -= 1
        with suppress(OSError):
            if self._left > 0:
                self._file.write(json.dumps({"at": round(time.time(), 3), **said}) + "\n")
            elif self._left == 0:
                self._file.write(json.dumps({"at": round(time.time(), 3), "left_out": "what came after this"}) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Api:
    """Passes requests on to one API."""

    def __init__(self, upstream: Upstream | None, session: Any, journal: _Journal) -> None:
        self._upstream = upstream
        self._session = session
        self._journal = journal

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import ClientError, web

        upstream, path, raw = self._upstream, request.path, request.raw_path.removeprefix(_OWN)
        if upstream is None or not upstream.has(raw) or ".." in path or "%" in raw:
            self._journal.put(method=request.method, path=path[:200], refused="not allowed")
            return web.json_response({"error": {"message": f"this sandbox may not ask for {path[:200]}"}}, status=403)
        kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOP | _OURS}
        url = upstream.url.rstrip("/") + raw
        sent = _Bounded()
        try:
            async with self._session.request(
                request.method,
                url,
                headers=kept | dict(upstream.headers),
                data=sent.of(request) if request.body_exists else None,
                allow_redirects=False,
            ) as answer:
                passed = await self._passed_on(request, answer)
                self._journal.put(method=request.method, path=path, status=answer.status, sent=sent.size, got=passed[1])
                return passed[0]
        except (ClientError, TimeoutError, _TooLarge) as e:
            self._journal.put(method=request.method, path=path, failed=type(e).__name__, sent=sent.size)
            return web.json_response(
                {"error": {"message": f"the API can't be reached: {type(e).__name__}"}}, status=502
            )

    async def _passed_on(self, request: web.BaseRequest, answer: Any) -> tuple[web.StreamResponse, int]:
        from aiohttp import web

        headers = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP | {"set-cookie"}}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            await response.write(piece)
        await response.write_eof()
        return response, size


class _TooLarge(Exception):
    """A request has more than may go out at a time."""


class _Bounded:
    """Counts what a request has, and stops where that is too much."""

    def __init__(self) -> None:
        self.size = 0

    async def of(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        async for piece in request.content.iter_any():
            self.size += len(piece)
            if self.size > _BODY_BYTES:
                raise _TooLarge
            yield piece


class _Tunnels:
    """A proxy that only makes tunnels (HTTP's CONNECT), to hosts that were named."""

    def __init__(self, hosts: tuple[str, ...], api: Path, journal: _Journal) -> None:
        self._hosts = hosts
        self._api = api
        self._journal = journal
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with self._places:
                await self._tunnel(reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError, asyncio.CancelledError):
            return  # gone, or no proxy's request: nobody is left to be told
        finally:
            self._tasks.discard(task)
            writer.close()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        if rest.startswith(_OWN):  # some programs ask the proxy for their own loopback too
            near_reader, near_writer = await asyncio.open_unix_connection(self._api)
            near_writer.write(head)
            await asyncio.gather(_pump(reader, near_writer), _pump(near_reader, writer))
            near_writer.close()
            return
        host, _, port = rest.partition(" ")[0].rpartition(":")
        refused = self._refusal(method, host.lower(), port)
        address = None if refused else await _public_address(host)
        if address is None:
            why = refused or "this host has no public address"
            self._journal.put(method=method[:20], host=host[:200], refused=why)
            writer.write(f"HTTP/1.1 403 {why}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
            await writer.drain()
            return
        async with asyncio.timeout(_CONNECT_S):
            far_reader, far_writer = await asyncio.open_connection(address, _HTTPS)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            sent, got = await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()
        self._journal.put(method="CONNECT", host=host, sent=sent, got=got)

    def _refusal(self, method: str, host: str, port: str) -> str:
        if method != "CONNECT" or port != str(_HTTPS):
            return "only tunnels to port 443 are made"
        return "" if any(fnmatchcase(host, each) for each in self._hosts) else "this host was not allowed"


async def _public_address(host: str) -> str | None:
    """An address of the host in the public internet; None where it has another, or none: a name may lead anywhere."""
    with suppress(OSError, UnicodeError):
        found = await asyncio.get_running_loop().getaddrinfo(host, _HTTPS, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        if addresses and all(ipaddress.ip_address(each.partition("%")[0]).is_global for each in addresses):
            return addresses[0]
    return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    size = 0
    try:
        while piece := await asyncio.wait_for(reader.read(_PIECE_BYTES), _IDLE_S):
            size += len(piece)
            writer.write(piece)
            await writer.drain()
    except (OSError, TimeoutError):
        writer.close()
    else:
        with suppress(OSError):
            writer.write_eof()
    return size
