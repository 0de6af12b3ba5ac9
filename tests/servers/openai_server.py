"""A real HTTP server that speaks the OpenAI chat-completions wire.

`async with openai_server(refusal(500), completion("hi")) as server:` answers the first request by the first answer, the
second by the second, and every later one by `server.default`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.servers.faults import Answer, Received, WireServer, event, raw, serve, stream

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
DONE = event("[DONE]")


@asynccontextmanager
async def openai_server(*plan: Answer) -> AsyncIterator[WireServer]:
    """Serve until the block ends; requests without an answer are then dropped."""
    async with serve(WireServer(plan, completion("ok")), "/chat/completions", "/v1") as server:
        yield server


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


def streamed(
    text: str | None = "ok",
    *,
    calls: Sequence[Mapping[str, Any]] = (),
    usage: Mapping[str, Any] | None = USAGE,
    finish: str = "stop",
) -> Answer:
    """The same as a stream, a character and half a call's arguments at a time."""
    parts = [chunk({"content": character}) for character in text or ""]
    for index, call in enumerate(calls):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        half = len(arguments) // 2
        parts.append(chunk({"tool_calls": [{**call, "index": index, "function": {"name": name, "arguments": ""}}]}))
        halves = (arguments[:half], arguments[half:])
        parts += [chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in halves]
    last = [] if usage is None else [event({"choices": [], "usage": usage})]
    return stream(chunk({"role": "assistant", "content": ""}), *parts, chunk({}, finish), *last, DONE)


def chunk(delta: Mapping[str, Any], finish: str | None = None) -> str:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], "usage": None})


def wire_call(name: str, arguments: Any, call_id: str | None = "call_a") -> dict[str, Any]:
    """A tool call as on the wire; a dict of arguments is written as JSON text."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def refusal(
    status: int, message: str = "no", *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return raw(json.dumps(body).encode(), status=status, headers=headers)


async def echo(received: Received) -> web.StreamResponse:
    """Answer with the last message, streamed if that was asked for."""
    said = received.body["messages"][-1]["content"]
    return await (streamed if received.body.get("stream") else completion)(said)(received)


async def echo_key(received: Received) -> web.StreamResponse:
    """Refuse the key, repeating it."""
    said = f"Incorrect API key provided: {received.headers['Authorization']}"
    return await refusal(403, said, code="invalid_api_key")(received)
