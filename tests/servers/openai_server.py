"""A real HTTP server that speaks the OpenAI chat-completions wire, with every fault a provider can have on request.

`async with openai_server(refusal(500), completion("hi")) as server:` answers the first request by the first answer, the
second by the second, and every later one by `server.default`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as the server got it."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    http: web.Request = field(repr=False)


Answer: TypeAlias = Callable[[Received], Awaitable[web.StreamResponse]]


class OpenAIServer:
    """Listens on a free port of this machine and answers by plan."""

    def __init__(self, plan: Sequence[Answer]) -> None:
        self._plan = deque(plan)
        self.default: Answer = completion("ok")
        self.requests: list[Received] = []
        self.arrived = asyncio.Event()
        """Set when a request has come."""
        self.hung_up = asyncio.Event()
        """Set when a client closed the connection before its answer."""
        self.base_url = ""

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
async def openai_server(*plan: Answer) -> AsyncIterator[OpenAIServer]:
    """Serve until the block ends; requests without an answer are then dropped."""
    server = OpenAIServer(plan)
    app = web.Application(client_max_size=2**27)
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield server
    finally:
        await runner.cleanup()


def completion(
    text: str | None = "ok",
    *,
    calls: Sequence[Mapping[str, Any]] = (),
    usage: Mapping[str, Any] | None = USAGE,
    finish: str = "stop",
) -> Answer:
    """A chat completion; `calls` are tool calls as on the wire."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = list(calls)
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}
    return raw(json.dumps(body if usage is None else {**body, "usage": usage}).encode())


def wire_call(name: str, arguments: Any, call_id: str | None = "call_a") -> dict[str, Any]:
    """A tool call as on the wire; a dict of arguments is written as JSON text."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def refusal(
    status: int, message: str = "no", *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return raw(json.dumps(body).encode(), status=status, headers=headers)


def raw(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Any bytes as the body."""

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})

    return answer


async def echo(received: Received) -> web.StreamResponse:
    """Answer with the last message."""
    return await completion(received.body["messages"][-1]["content"])(received)


async def echo_key(received: Received) -> web.StreamResponse:
    """Refuse the key, repeating it."""
    said = f"Incorrect API key provided: {received.headers['Authorization']}"
    return await refusal(403, said, code="invalid_api_key")(received)


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


def together(count: int) -> Answer:
    """Answer when `count` requests are waiting at one time, all at once."""
    barrier = asyncio.Barrier(count)

    async def answer(received: Received) -> web.StreamResponse:
        await barrier.wait()
        return await echo(received)

    return answer
