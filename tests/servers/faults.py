"""A real HTTP server that answers by plan, on a free port of this machine, and every fault that a provider can have
whatever its wire. The wires themselves are in the files beside this one."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as the server got it."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    http: web.Request = field(repr=False)


Answer: TypeAlias = Callable[[Received], Awaitable[web.StreamResponse]]


class WireServer:
    """Answers the first request by the first answer of the plan, and those beyond it by `default`."""

    def __init__(self, plan: Sequence[Answer], default: Answer) -> None:
        self._plan = deque(plan)
        self.default = default
        self.requests: list[Received] = []
        self.arrived = asyncio.Event()
        """Set when a request has come."""
        self.hung_up = asyncio.Event()
        """Set when a client closed the connection before its answer."""
        self.base_url = ""
        self.models: Sequence[str] | None = None
        """What it lists as its models; None: it lists none."""

    async def list_models(self, _http: web.Request) -> web.StreamResponse:
        if self.models is None:
            raise web.HTTPNotFound
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def answer(self, http: web.Request) -> web.StreamResponse:
        received = Received(path=http.path, headers=http.headers, body=json.loads(await http.text()), http=http)
        self.requests.append(received)
        self.arrived.set()
        answer = self._plan.popleft() if self._plan else self.default
        try:
            return await answer(received)
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up.set()
            raise


@asynccontextmanager
async def serve(server: WireServer, path: str, base: str) -> AsyncIterator[WireServer]:
    """Serve `path` until the block ends, below `base`; requests without an answer are then dropped."""
    app = web.Application(client_max_size=2**27)
    app.router.add_post(base + path, server.answer)
    app.router.add_get(base + "/models", server.list_models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}{base}"
        yield server
    finally:
        await runner.cleanup()


def raw(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Any bytes as the body."""

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})

    return answer


def stream(*pieces: str | bytes, end: Literal["eof", "abort", "hang"] = "eof") -> Answer:
    """Server-sent events, each piece in a write of its own; then the end, a broken connection, or silence."""

    async def answer(received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(received.http)
        for piece in pieces:
            await response.write(piece.encode() if isinstance(piece, str) else piece)
        if end == "abort":
            assert received.http.transport is not None
            received.http.transport.close()
        elif end == "hang":
            await asyncio.Event().wait()
        return response

    return answer


def endless(piece: bytes) -> Answer:
    """A stream that repeats `piece` for as long as the client listens."""

    async def answer(received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(received.http)
        while True:
            await response.write(piece)

    return answer


def event(data: Mapping[str, Any] | str) -> str:
    """One event; a mapping is written as JSON, with its type as the event's name where it has one."""
    if isinstance(data, str):
        return f"data: {data}\n\n"
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def reset(received: Received) -> web.StreamResponse:
    """Drop the connection without an answer."""
    assert received.http.transport is not None
    received.http.transport.abort()
    return web.Response()


async def truncated(received: Received) -> web.StreamResponse:
    """Promise 1,000 bytes, send ten, drop the connection."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(received.http)
    await response.write(b'{"choices"')
    assert received.http.transport is not None
    received.http.transport.close()
    return response


async def silent(received: Received) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def flood(size_bytes: int) -> Answer:
    """A body of that size."""

    async def answer(received: Received) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(received.http)
        for _ in range(size_bytes // 2**20):
            await response.write(b" " * 2**20)
        return response

    return answer


def not_http(garbage: bytes) -> Answer:
    """Bytes that are no HTTP response."""

    async def answer(received: Received) -> web.StreamResponse:
        transport = received.http.transport
        assert transport is not None
        transport.write(garbage)
        transport.close()
        return web.Response()

    return answer


def together(count: int, then: Answer) -> Answer:
    """Answer by `then` when `count` requests are waiting at one time, all at once."""
    barrier = asyncio.Barrier(count)

    async def answer(received: Received) -> web.StreamResponse:
        await barrier.wait()
        return await then(received)

    return answer
