"""The service's own protocol: runs, their events and results, uploads. What is sent and answered is in `messages`."""

from __future__ import annotations

import asyncio
import csv
import io
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from rlm.core.events import encode
from rlm.service.guards import DESK, body_of, caller_of, reply
from rlm.service.lists import PREFIX
from rlm.service.messages import Health, NewAct, NewRun, UploadPage
from rlm.service.refusals import RequestRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.jobs.engines.engine import Numbered

ALIVE_S = 15.0
"""After so long a silence a comment is sent, by which proxies know that the line is in use."""
KEY_CHARS = 255
PIECE_BYTES = 1 << 20


def routes() -> list[web.RouteDef]:
    """The routes of this face."""
    return [
        web.get("/health", health, allow_head=False),
        web.post("/v1/runs", submit),
        web.get("/v1/runs", page, allow_head=False),
        web.get("/v1/runs/{id}", show, allow_head=False),
        web.get("/v1/runs/{id}/result", result, allow_head=False),
        web.get("/v1/runs/{id}/events", events, allow_head=False),
        web.post("/v1/runs/{id}/control", control),
        web.post("/v1/contexts", upload),
        web.get("/v1/contexts", uploads, allow_head=False),
        web.delete("/v1/contexts/{id}", delete_upload),
        web.get("/metrics", metrics, allow_head=False),
    ]


async def health(_request: web.Request) -> web.Response:
    """Say that the service answers."""
    return reply(Health())


async def submit(request: web.Request) -> web.Response:
    """Take a request for a run."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and (not 0 < len(key) <= KEY_CHARS or key.startswith(PREFIX)):
        raise RequestRefused(422, f"an Idempotency-Key has 1 to {KEY_CHARS} characters, not {PREFIX} first")
    asked = msgspec.json.decode(await body_of(request), type=NewRun)
    note = await request.app[DESK].submit(caller_of(request), asked, key=key)
    return reply(note, 202, Location=f"/v1/runs/{note.id}")


async def page(request: web.Request) -> web.Response:
    """List runs, the newest first; as CSV where `format=csv` asks for it."""
    asked = request.query
    found = request.app[DESK].page(
        caller_of(request),
        before=asked.get("before", ""),
        state=asked.get("state"),
        count=_number(asked.get("limit", "50"), "limit"),
    )
    if asked.get("format") != "csv":
        return reply(found)
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["id", "state", "created_at", "ended_at", "model", "cost_usd", "duration_s", "prompt"])
    for run in found.runs:
        cost, time_s = (None, None) if run.result is None else (run.result.cost_usd, run.result.duration_s)
        cells = [run.id, run.state, run.created_at, run.ended_at, run.model, cost, time_s, run.prompt]
        rows.writerow([_cell(cell) for cell in cells])
    return web.Response(text=file.getvalue(), content_type="text/csv")


async def show(request: web.Request) -> web.Response:
    """Show how a run stands."""
    return reply(request.app[DESK].note(caller_of(request), request.match_info["id"]))


async def result(request: web.Request) -> web.Response:
    """Give what a run came to; `wait` is how many seconds to wait for that."""
    desk, caller, run_id = request.app[DESK], caller_of(request), request.match_info["id"]
    wait_s = _number(request.query.get("wait", "0"), "wait")
    with suppress(TimeoutError):
        if wait_s:
            async with asyncio.timeout(min(wait_s, 3600)):
                return reply(await desk.result(caller, run_id))
    note = desk.note(caller, run_id)
    return reply(note.result) if note.result is not None else reply(note, 202)


async def control(request: web.Request) -> web.Response:
    """Act on a run in progress."""
    asked = msgspec.json.decode(await body_of(request), type=NewAct)
    return reply(request.app[DESK].act(caller_of(request), request.match_info["id"], asked))


async def events(request: web.Request) -> web.StreamResponse:
    """Send the events of a run as they happen, from the one after Last-Event-ID."""
    desk, caller, run_id = request.app[DESK], caller_of(request), request.match_info["id"]
    desk.note(caller, run_id)
    last = request.headers.get("Last-Event-ID") or request.query.get("after")
    first = 0 if last is None else _number(last, "Last-Event-ID") + 1
    answer = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    answer.content_type = "text/event-stream"
    with suppress(ConnectionResetError):  # the reader has gone, and may come back with its last number
        await answer.prepare(request)
        async for each in with_silences(desk.events(caller, run_id, first), ALIVE_S):
            await answer.write(b": still there\n\n" if each is None else _sent(each))
        ended = msgspec.json.encode({"state": desk.note(caller, run_id).state})
        await answer.write(b"event: end\ndata: %b\n\n" % ended)
    return answer


async def with_silences(found: AsyncIterator[Numbered], most_s: float) -> AsyncIterator[Numbered | None]:
    """The same, with None after each silence of `most_s` seconds."""
    following: asyncio.Future[Numbered] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(found))
            done, _ = await asyncio.wait([following], timeout=most_s)
            if not done:
                yield None
                continue
            try:
                each = following.result()
            except StopAsyncIteration:
                return
            following = None
            yield each
    finally:
        if following is not None:
            following.cancel()


async def upload(request: web.Request) -> web.Response:
    """Keep data for runs that are about it."""
    note = await request.app[DESK].uploads(caller_of(request)).add(request.content.iter_chunked(PIECE_BYTES))
    return reply(note, 201, Location=f"/v1/contexts/{note.id}")


async def uploads(request: web.Request) -> web.Response:
    """List what was uploaded."""
    kept = request.app[DESK].uploads(caller_of(request))
    return reply(UploadPage(contexts=await asyncio.to_thread(kept.all)))


async def delete_upload(request: web.Request) -> web.Response:
    """Delete what was uploaded."""
    request.app[DESK].uploads(caller_of(request)).delete(request.match_info["id"])
    return web.Response(status=204)


async def metrics(request: web.Request) -> web.Response:
    """How many runs there are in each state, as Prometheus reads it; for the owner alone."""
    if not caller_of(request).is_owner:
        raise RequestRefused(403, "metrics are about all tokens: only the owner sees them")
    lines = ["# HELP rlm_runs Runs by state.", "# TYPE rlm_runs gauge"]
    lines += [f'rlm_runs{{state="{state}"}} {count}' for state, count in sorted(request.app[DESK].counts().items())]
    return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


def _sent(each: Numbered) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (each.number, each.event.type.encode(), encode(each.event))


def _number(text: str, name: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    raise RequestRefused(422, f"{name}: expected a whole number")


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
