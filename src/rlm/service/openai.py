"""OpenAI's wire: chat completions and responses, by which any of its clients uses rlm as a model.

Source: https://platform.openai.com/docs/api-reference. Fields that a run has no use for pass unread.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rlm.service.conversations import ChatMessage, ToldConversation
from rlm.service.endpoints import SSE, Media, ServiceEndpoint
from rlm.service.guards import DESK, asked_of, caller_of, openai_error, reply
from rlm.service.messages import NewAct, NewRun, ResultNote
from rlm.service.openai_messages import (
    AskedModel,
    CachedTokens,
    ChatChoice,
    ChatCompletion,
    ChatReply,
    ChatRequest,
    ChatUsage,
    IncompleteDetails,
    ListedModel,
    ModelList,
    ModelResponse,
    ResponseFault,
    ResponseMessage,
    ResponseRequest,
    ResponseText,
    ResponseUsage,
)
from rlm.service.refusals import RequestRefused
from rlm.service.rest import ALIVE_S, with_silences
from rlm.service.streams import ServerSentEvents
from rlm.sinks.progress import step_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from rlm.core.types import Json
    from rlm.service.desk import Desk
    from rlm.service.messages import RunNote
    from rlm.service.tokens import Caller

PREFIX = "rlm/"
"""What the names of models begin with here."""
PIECE_CHARS = 4_000
"""The length of a piece in which an answer is streamed."""
MOST_FOLLOWED = 50
"""How many responses a follow-up is told of."""


def endpoints() -> list[ServiceEndpoint]:
    """The endpoints of this face."""
    responded: dict[int, tuple[type | Media, ...]] = {200: (ModelResponse,)}
    return [
        ServiceEndpoint(method="GET", path="/v1/models", answer=models, gives={200: (ModelList,)}),
        ServiceEndpoint(method="GET", path="/v1/models/{id:.+}", answer=model, gives={200: (ListedModel,)}),
        ServiceEndpoint(
            method="POST",
            path="/v1/chat/completions",
            answer=chat,
            takes=ChatRequest,
            gives={200: (ChatCompletion, SSE)},
        ),
        ServiceEndpoint(
            method="POST",
            path="/v1/responses",
            answer=respond,
            takes=ResponseRequest,
            gives={200: (ModelResponse, SSE)},
        ),
        ServiceEndpoint(method="GET", path="/v1/responses/{id}", answer=retrieve, gives=responded),
        ServiceEndpoint(method="POST", path="/v1/responses/{id}/cancel", answer=cancel, gives=responded),
    ]


async def models(request: web.Request) -> web.Response:
    """List the models that the token may use."""
    names = request.app[DESK].models(caller_of(request))
    return reply(ModelList(data=[_model(name) for name in names]))


async def model(request: web.Request) -> web.Response:
    """Show one model."""
    name = request.match_info["id"].removeprefix(PREFIX)
    if name not in request.app[DESK].models(caller_of(request)):
        raise RequestRefused(404, f"there is no model {name[:100]!r}")
    return reply(_model(name))


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a conversation; a client that goes away cancels the run."""
    desk, caller = request.app[DESK], caller_of(request)
    asked = await asked_of(request, ChatRequest)
    said = ToldConversation(desk.config.service.context_chars)
    said.add(asked.messages)
    tokens = asked.max_completion_tokens or asked.max_tokens
    note = await desk.submit(caller, _run(asked, said, _schema(asked.response_format), tokens))
    try:
        if asked.stream:
            return await _streamed_chat(request, asked, note)
        result = _usable(await desk.result(caller, note.id))
    except (asyncio.CancelledError, ConnectionResetError):
        _give_up(desk, caller, note.id)
        raise
    choice = ChatChoice(message=ChatReply(content=_answer(result)), finish_reason=_finish(result))
    return reply(
        ChatCompletion(
            id=_chat_id(note),
            created=int(note.created_at),
            model=asked.model,
            choices=[choice],
            usage=_chat_usage(result),
        )
    )


async def respond(request: web.Request) -> web.StreamResponse:
    """Answer as a response object; with `background` at once, to be asked for later."""
    desk, caller = request.app[DESK], caller_of(request)
    asked = await asked_of(request, ResponseRequest)
    said = ToldConversation(desk.config.service.context_chars)
    if asked.instructions:
        said.instructions.append(asked.instructions)
    follows = _run_id(asked.previous_response_id) if asked.previous_response_id else ""
    if follows:
        said.follow(desk.line(caller, follows, MOST_FOLLOWED))
    said.add([ChatMessage(content=asked.input)] if isinstance(asked.input, str) else asked.input)
    schema = _schema((asked.text or {}).get("format"))
    note = await desk.submit(caller, _run(asked, said, schema, asked.max_output_tokens), follows=follows)
    if asked.background:
        return reply(_response(note, asked.model, background=True))
    try:
        if asked.stream:
            return await _streamed_response(request, asked, note)
        await desk.result(caller, note.id)
    except (asyncio.CancelledError, ConnectionResetError):
        _give_up(desk, caller, note.id)
        raise
    return reply(_response(desk.note(caller, note.id), asked.model))


async def retrieve(request: web.Request) -> web.Response:
    """Show how a response stands."""
    note = request.app[DESK].note(caller_of(request), _run_id(request.match_info["id"]))
    return reply(_response(note, f"{PREFIX}{note.model}", background=True))


async def cancel(request: web.Request) -> web.Response:
    """Cancel a response in progress."""
    desk, caller, run_id = request.app[DESK], caller_of(request), _run_id(request.match_info["id"])
    if desk.note(caller, run_id).result is None:
        desk.act(caller, run_id, NewAct(action="cancel"))
        await desk.result(caller, run_id)
    note = desk.note(caller, run_id)
    return reply(_response(note, f"{PREFIX}{note.model}", background=True))


async def _streamed_chat(request: web.Request, asked: ChatRequest, note: RunNote) -> web.StreamResponse:
    """The steps of the run as reasoning, so that the line stays open, then the answer in pieces."""
    desk, caller = request.app[DESK], caller_of(request)
    answer = await _streaming(request)
    head: dict[str, Json] = {
        "id": _chat_id(note),
        "object": "chat.completion.chunk",
        "created": int(note.created_at),
        "model": asked.model,
    }

    async def send(delta: dict[str, Json], finish: str | None = None) -> None:
        await _send(answer, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    await send({"role": "assistant", "content": ""})
    async for step in _steps(answer, desk, caller, note.id):
        await send({"reasoning_content": step})
    try:
        result = _usable(await desk.result(caller, note.id))
    except RequestRefused as refused:
        await _send(answer, msgspec.to_builtins(openai_error(refused)))
    else:
        for piece in _pieces(_answer(result)):
            await send({"content": piece})
        await send({}, _finish(result))
        if (asked.stream_options or {}).get("include_usage"):
            await _send(answer, {**head, "choices": [], "usage": msgspec.to_builtins(_chat_usage(result))})
    await answer.write(b"data: [DONE]\n\n")
    return answer


async def _streamed_response(request: web.Request, asked: ResponseRequest, note: RunNote) -> web.StreamResponse:
    desk, caller = request.app[DESK], caller_of(request)
    answer = await _streaming(request)
    number = 0

    async def send(kind: str, **fields: Json) -> None:
        nonlocal number
        await _send(answer, {"type": kind, "sequence_number": number, **fields}, kind)
        number += 1

    begun = msgspec.to_builtins(_response(note, asked.model))
    await send("response.created", response=begun)
    async for _step in _steps(answer, desk, caller, note.id):
        await send("response.in_progress", response=begun)
    await desk.result(caller, note.id)
    ended = msgspec.to_builtins(_response(desk.note(caller, note.id), asked.model))
    for item in ended["output"]:
        place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        text = item["content"][0]["text"]
        empty = {**item, "status": "in_progress", "content": []}
        await send("response.output_item.added", output_index=0, item=empty)
        await send("response.content_part.added", **place, part={"type": "output_text", "text": "", "annotations": []})
        for piece in _pieces(text):
            await send("response.output_text.delta", **place, delta=piece, logprobs=[])
        await send("response.output_text.done", **place, text=text, logprobs=[])
        await send("response.content_part.done", **place, part=item["content"][0])
        await send("response.output_item.done", output_index=0, item=item)
    await send(f"response.{ended['status']}", response=ended)
    return answer


async def _steps(answer: web.StreamResponse, desk: Desk, caller: Caller, run_id: str) -> Any:
    """What the run does, one line a step; silences are kept alive."""
    async for each in with_silences(desk.events(caller, run_id), ALIVE_S):
        if each is None:
            await answer.write(b": still working\n\n")
        elif text := step_text(each.event):
            yield f"{text.strip()}\n"


async def _streaming(request: web.Request) -> web.StreamResponse:
    answer = ServerSentEvents(request, request.app[DESK].config.service.read_s)
    await answer.prepare(request)
    return answer


async def _send(answer: web.StreamResponse, body: Json, event: str = "") -> None:
    named = f"event: {event}\n" if event else ""
    await answer.write(f"{named}data: {json.dumps(body)}\n\n".encode())


def _run(asked: AskedModel, said: ToldConversation, schema: dict[str, Any] | None, tokens: int | None) -> NewRun:
    name = asked.model.removeprefix(PREFIX)
    budget = {cap: _number(text) for cap, text in (asked.metadata or {}).items() if cap in _CAPS}
    if tokens is not None:
        budget |= {"token_budget": tokens, "token_budget_counts": "output"}
    given = {"model": None if name == "rlm" else name, "output_schema": schema, "budget": budget}
    return msgspec.convert({**said.request(), **given}, NewRun)


_CAPS = frozenset(
    {"max_depth", "max_turns", "token_budget", "cost_budget_usd", "tool_budget", "subcall_budget", "timeout_s"}
)
"""Caps that `metadata` may name."""


def _number(text: str) -> Json:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _schema(form: Json) -> dict[str, Any] | None:
    """The schema of a `response_format`, or of the `format` of a text."""
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        return None
    found = form.get("json_schema", form).get("schema")
    if not isinstance(found, dict):
        raise RequestRefused(400, "response_format: there is no schema in json_schema")
    return found


def _usable(result: ResultNote) -> ResultNote:
    """A result with an answer.

    Raises:
        RequestRefused: it has none.
    """
    if result.status in ("completed", "limit"):
        return result
    is_wrong = (result.error or "").startswith("ConfigError")
    raise RequestRefused(400 if is_wrong else 502, result.error or f"the run was {result.status}")


def _answer(result: ResultNote) -> str:
    if result.value is None or isinstance(result.value, str):
        return result.response
    return json.dumps(result.value, ensure_ascii=False)


def _finish(result: ResultNote) -> Literal["stop", "length"]:
    return "stop" if result.status == "completed" else "length"


def _chat_usage(result: ResultNote) -> ChatUsage:
    used = result.usage
    sent, got = used.get("input_tokens", 0), used.get("output_tokens", 0)
    return ChatUsage(
        prompt_tokens=sent,
        completion_tokens=got,
        total_tokens=sent + got,
        prompt_tokens_details=CachedTokens(cached_tokens=used.get("cached_tokens", 0)),
    )


def _chat_id(note: RunNote) -> str:
    return f"chatcmpl-{note.id}"


def _model(name: str) -> ListedModel:
    return ListedModel(id=f"{PREFIX}{name}")


def _run_id(response_id: str) -> str:
    return response_id.removeprefix("resp_")


_STATUSES: dict[str, Any] = {
    "completed": "completed",
    "limit": "incomplete",
    "cancelled": "cancelled",
    "queued": "queued",
}


def _response(note: RunNote, model: str, *, background: bool = False) -> ModelResponse:
    result = note.result
    status = _STATUSES.get(note.state, "in_progress" if result is None else "failed")
    return ModelResponse(
        id=f"resp_{note.id}",
        created_at=int(note.created_at),
        status=status,
        background=background,
        model=model,
        output=[] if result is None or status == "failed" else [_message(note.id, _answer(result))],
        usage=None if result is None else _response_usage(result),
        error=None if status != "failed" or result is None else ResponseFault(message=result.error),
        incomplete_details=IncompleteDetails() if status == "incomplete" else None,
    )


def _response_usage(result: ResultNote) -> ResponseUsage:
    used = _chat_usage(result)
    return ResponseUsage(
        input_tokens=used.prompt_tokens,
        output_tokens=used.completion_tokens,
        total_tokens=used.total_tokens,
        input_tokens_details=used.prompt_tokens_details,
    )


def _message(run_id: str, text: str) -> ResponseMessage:
    return ResponseMessage(id=f"msg_{run_id}", content=[ResponseText(text=text)])


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE_CHARS):
        yield text[start : start + PIECE_CHARS]


def _give_up(desk: Desk, caller: Caller, run_id: str) -> None:
    """Cancel a run whose client has gone, for nobody would read its answer."""
    with suppress(RequestRefused):
        desk.act(caller, run_id, NewAct(action="cancel", why="its client has gone"))
