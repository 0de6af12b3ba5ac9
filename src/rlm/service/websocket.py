"""JSON-RPC 2.0 over a WebSocket: `execute`, `control`, `subscribe`, and notifications of what the runs do.

What is told of a run, or of a list of them, follows from its record, so that its numbers are the same whenever they are
asked for: a client that was away goes on from its last number. Exactly one notification is terminal.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Struct

from rlm.core.events import CompletionEnd, Controlled, ExecOutput, HookEnded, Limit, ModelRetry, RunStart
from rlm.core.exceptions import RLMError, StoreError
from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)
from rlm.runtime.hooks import hook_rows
from rlm.service.endpoints import NOTHING, ServiceEndpoint
from rlm.service.guards import DESK, LISTS, caller_of, is_still_known
from rlm.service.lists import state_of
from rlm.service.messages import NewAct, NewRun
from rlm.service.refusals import RequestRefused
from rlm.service.streams import sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rlm.service.lists import Lists
    from rlm.service.messages import RunNote
    from rlm.service.tokens import Caller

PING_S = 20.0
"""So often the connection is tried by a ping of the protocol."""
PIECE_CHARS = 16_384
"""The length of a piece of output, which is at most 64 KB of UTF-8."""
MOST_OF_BATCH = 50
MOST_FOLLOWED = 100
"""How many runs one connection may follow at one time."""
PARSE, INVALID, UNKNOWN, WRONG, REFUSED = -32700, -32600, -32601, -32602, -32000


class RpcCall(Struct, frozen=True, kw_only=True):
    """One request of JSON-RPC."""

    jsonrpc: Literal["2.0"]
    method: str
    params: dict[str, Json] = {}
    id: Json = None


class Execute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `execute` takes: a prompt, or prompts that are run in order; and what each run is given."""

    prompt: str | None = None
    command: str | None = None
    """Another name of `prompt`."""
    prompts: list[str] | None = None
    timeout: float | None = None
    """Of each run, in seconds."""
    given: dict[str, Json] = {}
    """Other fields of a request for a run, as `POST /v1/runs` takes them."""


class Steer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `control` takes."""

    session_id: str
    type: str
    """PAUSE, RESUME or CANCEL."""
    why: str = ""


class Subscribe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `subscribe` takes."""

    session_id: str
    after: int = -1
    """The number of the last notification that is known; -1: none is."""


def endpoints() -> list[ServiceEndpoint]:
    """The endpoints of this face."""
    faces = {"/ws": talk, "/ws/mcp": talk_mcp}
    return [
        ServiceEndpoint(method="GET", path=path, answer=answer, gives={101: NOTHING}) for path, answer in faces.items()
    ]


async def talk(request: web.Request) -> web.WebSocketResponse:
    """Answer one client until it goes."""
    desk = request.app[DESK]
    socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=desk.config.service.body_bytes)
    await socket.prepare(request)
    client = Talk(request, socket)
    try:
        await client.send({"jsonrpc": "2.0", "method": "connected", "params": {"seq": 0, "version": 1}})
        async for message in socket:
            if not is_still_known(request):
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"the token was revoked")
            elif message.type is WSMsgType.TEXT:
                await client.take(message.data)
            else:
                await client.send(_error(None, PARSE, "messages are texts"))
    except ConnectionResetError:
        return socket
    finally:
        await client.aclose()
    return socket


async def talk_mcp(request: web.Request) -> web.WebSocketResponse:
    """Answer one client until it goes, at the path of cc_executor."""
    return await talk(request)


class Talk:
    """One connection: what it asks is answered in turn, what it follows is sent beside that."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._lists = request.app[LISTS]
        self._desk = request.app[DESK]
        self._caller = caller_of(request)
        self._socket = socket
        self._transport = request.transport
        self._following: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[bool]] = set()

    async def send(self, message: Json) -> None:
        """Send a message; waits while the client reads no more, so that nothing piles up for it."""
        await sent(self._socket.send_str(json.dumps(message)), self._transport, 2 * PING_S)

    async def take(self, text: str) -> None:
        """Answer a request, or a batch of them."""
        try:
            asked = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            await self.send(_error(None, PARSE, "that is no JSON"))
            return
        if not isinstance(asked, list):
            answers = [await self._answered(asked)]
        elif not 0 < len(asked) <= MOST_OF_BATCH:
            answers = [_error(None, INVALID, f"a batch has 1 to {MOST_OF_BATCH} requests")]
        else:
            answers = [await self._answered(each) for each in asked]
        said = [answer for answer in answers if answer is not None]
        if said:
            await self.send(said if isinstance(asked, list) and len(asked) <= MOST_OF_BATCH and asked else said[0])

    async def aclose(self) -> None:
        """Follow nothing more; the runs go on."""
        if isinstance(self._transport, asyncio.WriteTransport) and self._transport.get_write_buffer_size():
            self._transport.abort()  # the client reads no more
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, *self._closing, return_exceptions=True)

    async def _answered(self, asked: Json) -> dict[str, Json] | None:
        """The answer to one request; None to a notification, which has no id."""
        answer = await self._answer(asked)
        is_notification = isinstance(asked, dict) and "method" in asked and "id" not in asked
        return None if is_notification else answer

    async def _answer(self, asked: Json) -> dict[str, Json]:
        call_id = asked.get("id") if isinstance(asked, dict) else None
        try:
            call = msgspec.convert(asked, RpcCall)
        except msgspec.ValidationError as error:
            return _error(call_id, INVALID, str(error))
        methods = {
            "execute": self._execute,
            "control": self._control,
            "subscribe": self._subscribe,
            "hook_status": self._hook_status,
        }
        method = methods.get(call.method)
        if method is None:
            return _error(call.id, UNKNOWN, f"there is no method {call.method[:100]!r}: {', '.join(methods)}")
        try:
            return {"jsonrpc": "2.0", "id": call.id, "result": await method(call.params)}
        except msgspec.ValidationError as error:
            return _error(call.id, WRONG, str(error))
        except RequestRefused as refused:
            return _error(call.id, REFUSED, refused.detail, {"status": refused.status})
        except RLMError as error:
            return _error(call.id, REFUSED, str(error), {"status": 507 if isinstance(error, StoreError) else 500})

    async def _execute(self, params: dict[str, Json]) -> Json:
        asked = msgspec.convert(params, Execute)
        one = asked.prompt or asked.command
        prompts = asked.prompts if asked.prompts is not None else [one] if one else []
        self._check_room()
        session_id = await self._lists.submit(self._caller, new_runs(prompts, asked.timeout, asked.given))
        self._follow(session_id, -1)
        return {"session_id": session_id, "status": "started", "run_ids": [note.id for note in self._notes(session_id)]}

    async def _control(self, params: dict[str, Json]) -> Json:
        asked = msgspec.convert(params, Steer)
        match asked.type.upper():
            case "CANCEL":
                await self._lists.cancel(self._caller, asked.session_id, asked.why)
            case "PAUSE" | "RESUME":
                act = msgspec.convert({"action": asked.type.lower(), "why": asked.why}, NewAct)
                self._lists.act(self._caller, asked.session_id, act)
            case other:
                raise RequestRefused(422, f"type: expected PAUSE, RESUME or CANCEL, not {other[:40]!r}")
        return {"session_id": asked.session_id, "status": state_of(self._notes(asked.session_id))}

    async def _subscribe(self, params: dict[str, Json]) -> Json:
        asked = msgspec.convert(params, Subscribe)
        state = state_of(self._notes(asked.session_id))
        self._check_room()
        self._follow(asked.session_id, asked.after)
        return {"session_id": asked.session_id, "status": state}

    async def _hook_status(self, _params: dict[str, Json]) -> Json:
        """The hooks that are asked during runs; where each comes from, the owner alone is told."""
        rows = await asyncio.to_thread(hook_rows, self._desk.config.hooks)
        shown = (
            rows if self._caller.is_owner else [{"point": row["point"], "timeout_s": row["timeout_s"]} for row in rows]
        )
        return {"enabled": bool(rows), "hooks": shown}

    def _notes(self, session_id: str) -> list[RunNote]:
        return self._lists.notes(self._caller, session_id)

    def _check_room(self) -> None:
        if len(self._following) >= MOST_FOLLOWED:
            raise RequestRefused(429, f"one connection follows {MOST_FOLLOWED} runs at most")

    def _follow(self, session_id: str, after: int) -> None:
        task = asyncio.create_task(self._send_all(session_id, after))
        self._following.add(task)
        task.add_done_callback(self._followed)

    def _followed(self, task: asyncio.Task[None]) -> None:
        self._following.discard(task)
        if task.cancelled() or task.exception() is None or isinstance(task.exception(), ConnectionResetError):
            return  # it is told everything, or has gone
        code = WSCloseCode.INTERNAL_ERROR  # the client may connect again, and go on from its last number
        closing = asyncio.ensure_future(self._socket.close(code=code, message=b"what a run did can't be read"))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _send_all(self, session_id: str, after: int) -> None:
        number = 0
        async for method, params in _notifications(self._lists, self._caller, session_id):
            if number > after:
                told = {"session_id": session_id, "seq": number, **params}
                await self.send({"jsonrpc": "2.0", "method": method, "params": told})
            number += 1


def new_runs(prompts: list[str], timeout_s: float | None, given: dict[str, Json]) -> list[NewRun]:
    """The requests for runs of these prompts, each with what is given and a time limit of its own."""
    limit = {} if timeout_s is None else {"timeout_s": timeout_s}
    budget = {**given.get("budget", {}), **limit} if isinstance(given.get("budget", {}), dict) else given["budget"]
    return [msgspec.convert({**given, "prompt": prompt, "budget": budget}, NewRun) for prompt in prompts]


async def _notifications(lists: Lists, caller: Caller, session_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """What is told of a list, in order; the last is the only one that is terminal."""
    ended: list[RunNote] = []
    last = len(lists.notes(caller, session_id)) - 1
    async for note, each in lists.events(caller, session_id):
        if each is None:
            ended.append(note)
            for piece in _pieces(note.result.response if note.result is not None else ""):
                yield "process.output", {"run_id": note.id, "stream": "answer", "data": piece}
            continue
        for method, params in _told(each.event.body, is_first=not ended):
            yield method, {"run_id": note.id, **params}
    yield _terminal(ended, last)


def _told(body: object, *, is_first: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    match body:
        case RunStart() if is_first:
            yield "process.started", {"model": body.model}
        case ExecOutput(text=text):
            for piece in _pieces(text):
                yield "process.output", {"stream": "stdout", "data": piece}
        case Controlled(action="pause" | "resume" as action, who=who, why=why):
            yield {"pause": "process.paused", "resume": "process.resumed"}[action], {"who": who, "why": why}
        case HookEnded(proceed=False, point=point, name=name, message=message):
            yield "hook.warning", {"point": point, "hook": name, "message": message}
        case Limit(name="token_budget", state="reached", message=message):
            yield "error.token_limit_exceeded", {"message": message}
        case ModelRetry(error=error, wait_s=wait_s) if error.startswith("RateLimitError"):
            yield "error.rate_limit_exceeded", {"message": error, "wait_s": wait_s}
        case CompletionEnd(status="failed", error=str(error)) if "RateLimitError" in error:
            yield "error.rate_limit_exceeded", {"message": error}


def _terminal(ended: list[RunNote], last: int) -> tuple[str, dict[str, Any]]:
    state = state_of(ended)
    results = [msgspec.to_builtins(note.result) for note in ended]
    facts = {"status": state, "success": state == "completed", "results": results}
    if state in ("completed", "limit") and len(ended) == last + 1:
        return "process.completed", {**facts, "exit_code": 0 if state == "completed" else 3}
    if state == "cancelled":
        return "process.canceled", facts
    said = next((note.result.error for note in ended if note.result is not None and note.result.error), state)
    return "process.error", {**facts, "exit_code": 1, "message": said}


def _no_number(name: str) -> None:
    """Raises:
    ValueError: NaN and Infinity are no JSON.
    """
    raise ValueError(name)


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE_CHARS):
        yield text[start : start + PIECE_CHARS]


def _error(call_id: Json, code: int, message: str, data: Json = None) -> dict[str, Json]:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": call_id, "error": error}
