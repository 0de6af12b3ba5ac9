"""A real HTTP server that speaks the Anthropic messages wire, and is as strict about requests as its model."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.servers.faults import Answer, Received, WireServer, event, raw, serve, stream

USAGE = {"input_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 7}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
STOP = event({"type": "message_stop"})


@asynccontextmanager
async def anthropic_server(*plan: Answer) -> AsyncIterator[WireServer]:
    """Serve until the block ends; requests without an answer are then dropped."""
    async with serve(WireServer(plan, message(text("ok"))), "/v1/messages", "") as server:
        yield server


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def tool_use(name: str, arguments: Mapping[str, Any], call_id: str = "toolu_a") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def thinking(thought: str = "", signature: str = "c2ln") -> dict[str, Any]:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def message(*blocks: dict[str, Any], stop: str = "end_turn", usage: Mapping[str, Any] | None = USAGE) -> Answer:
    """A whole reply of content blocks."""
    body = {"id": "msg_1", "type": "message", "role": "assistant", "content": blocks, "stop_reason": stop}
    return raw(json.dumps(body if usage is None else {**body, "usage": usage}).encode())


def streamed(*blocks: dict[str, Any], stop: str = "end_turn", usage: Mapping[str, Any] | None = USAGE) -> Answer:
    """The same as a stream, with a ping and an event of a kind that came later."""
    first = None if usage is None else {**usage, "output_tokens": 1}
    last = {} if usage is None else {"usage": {"output_tokens": usage["output_tokens"]}}
    return stream(
        start(first),
        event({"type": "ping"}),
        *(part for index, block in enumerate(blocks) for part in _block(index, block)),
        event({"type": "news", "of": ["another", "kind"]}),
        event({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, **last}),
        STOP,
    )


def start(usage: Mapping[str, Any] | None = USAGE) -> str:
    """The first event of a stream."""
    body: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": None}
    return event({"type": "message_start", "message": body if usage is None else {**body, "usage": usage}})


def delta(index: int, **change: str) -> str:
    kinds = {"text": "text_delta", "partial_json": "input_json_delta", "thinking": "thinking_delta"}
    kind = kinds.get(next(iter(change)), "signature_delta")
    return event({"type": "content_block_delta", "index": index, "delta": {"type": kind, **change}})


def _block(index: int, block: dict[str, Any]) -> Sequence[str]:
    empty: dict[str, dict[str, Any]] = {
        "text": {"type": "text", "text": ""},
        "tool_use": {**block, "input": {}},
        "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    }
    deltas = {
        "text": lambda: [delta(index, text=character) for character in block["text"]],
        "tool_use": lambda: [delta(index, partial_json=part) for part in ("", *_halves(json.dumps(block["input"])))],
        "thinking": lambda: [delta(index, thinking=block["thinking"]), delta(index, signature=block["signature"])],
    }
    begin = {"type": "content_block_start", "index": index, "content_block": empty.get(block["type"], block)}
    middle = deltas.get(block["type"], list)()
    return [event(begin), *middle, event({"type": "content_block_stop", "index": index})]


def _halves(said: str) -> tuple[str, str]:
    return said[: len(said) // 2], said[len(said) // 2 :]


def error(status: int, said: str = "no") -> dict[str, Any]:
    """An error in Anthropic's shape, as a body and as an event."""
    return {"type": "error", "error": {"type": TYPES.get(status, "api_error"), "message": said}, "request_id": "req_1"}


def refusal(status: int, said: str = "no", *, headers: Mapping[str, str] | None = None) -> Answer:
    return raw(json.dumps(error(status, said)).encode(), status=status, headers=headers)


async def echo(received: Received) -> web.StreamResponse:
    """Answer with the last message's text, streamed if that was asked for."""
    said = received.body["messages"][-1]["content"][-1]["text"]
    return await (streamed if received.body.get("stream") else message)(text(said))(received)


async def echo_key(received: Received) -> web.StreamResponse:
    """Refuse the key, repeating it."""
    return await refusal(403, f"no access with {received.headers['x-api-key']}")(received)


async def strict(received: Received) -> web.StreamResponse:
    """Refuse what the real API refuses, else answer; for conversations of any shape."""
    problem = problem_of(received.body)
    return await (message(text("ok")) if problem is None else refusal(400, problem))(received)


def problem_of(body: Mapping[str, Any]) -> str | None:
    """What is wrong with a request; None: nothing. Source: https://platform.claude.com/docs/en/api/messages"""
    turns = body["messages"]
    roles = [turn["role"] for turn in turns]
    blocks = [block for turn in turns for block in turn["content"]]
    marks = [block for block in (*blocks, *body.get("system", ())) if "cache_control" in block]
    if not roles or roles[0] != "user" or any(role == after for role, after in itertools.pairwise(roles)):
        return f"roles must alternate and begin with user: {roles}"
    if any(not turn["content"] for turn in turns):
        return "all messages must have content"
    if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
        return "text content blocks must be non-empty"
    if len(marks) > 4:
        return "a maximum of 4 blocks with cache_control"
    return _unanswered(turns)


def _unanswered(turns: Sequence[Mapping[str, Any]]) -> str | None:
    for turn, after in zip(turns, [*turns[1:], {"content": []}], strict=True):
        wanted = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
        got = [block["tool_use_id"] for block in after["content"][: len(wanted)] if block["type"] == "tool_result"]
        if sorted(wanted) != sorted(got):
            return f"tool_use ids {wanted} were answered by {got}"
    return None
