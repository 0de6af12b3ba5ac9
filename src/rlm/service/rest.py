"""The service's own protocol: runs, their events and results, uploads. What is sent and answered is in `messages`."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from rlm.core.events import encode
from rlm.service.endpoints import NOTHING, SSE, Media, ServiceEndpoint, query_of
from rlm.service.guards import DESK, LISTS, asked_of, caller_of, is_still_known, pieces_of, reply
from rlm.service.lists import PREFIX, state_of
from rlm.service.messages import (
    EventsQuery,
    Health,
    ListedRun,
    NewAct,
    NewRun,
    NewTaskList,
    PageQuery,
    ResultNote,
    ResultQuery,
    RunNote,
    RunPage,
    TaskListNote,
    UploadNote,
    UploadPage,
)
from rlm.service.refusals import RequestRefused
from rlm.service.streams import ServerSentEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.jobs.engines.engine import Numbered

ALIVE_S = 15.0
"""After so long a silence a comment is sent, by which proxies know that the line is in use."""
LOOK_S = 1.0
"""So often a reader's token is looked at again, in seconds: one that was revoked ends its streams."""
WAIT_S = 3_600
"""The longest that one request waits for a result, in seconds."""
KEY_CHARS = 255
CSV, ANY = "text/csv", "application/octet-stream"


def endpoints() -> list[ServiceEndpoint]:
    """The endpoints of this face."""
    csv_too: tuple[type | Media, ...] = (RunPage, Media(type=CSV))
    run, about, listed = "/v1/runs/{id}", "/v1/contexts/{id}", "/v1/task-lists/{id}"
    return [
        ServiceEndpoint(method="GET", path="/health", answer=health, gives={200: (Health,)}),
        ServiceEndpoint(
            method="POST",
            path="/v1/runs",
            answer=submit,
            takes=NewRun,
            headers=("Idempotency-Key",),
            gives={202: (RunNote,)},
        ),
        ServiceEndpoint(method="GET", path="/v1/runs", answer=page, query=PageQuery, gives={200: csv_too}),
        ServiceEndpoint(method="GET", path=run, answer=show, gives={200: (RunNote,)}),
        ServiceEndpoint(
            method="GET",
            path=f"{run}/result",
            answer=result,
            query=ResultQuery,
            gives={200: (ResultNote,), 202: (RunNote,)},
        ),
        ServiceEndpoint(
            method="GET",
            path=f"{run}/events",
            answer=events,
            query=EventsQuery,
            headers=("Last-Event-ID",),
            gives={200: (SSE,)},
        ),
        ServiceEndpoint(method="POST", path=f"{run}/control", answer=control, takes=NewAct, gives={200: (RunNote,)}),
        ServiceEndpoint(
            method="POST", path="/v1/task-lists", answer=submit_list, takes=NewTaskList, gives={202: (TaskListNote,)}
        ),
        ServiceEndpoint(method="GET", path=listed, answer=show_list, query=ResultQuery, gives={200: (TaskListNote,)}),
        ServiceEndpoint(method="DELETE", path=listed, answer=cancel_list, gives={200: (TaskListNote,)}),
        ServiceEndpoint(
            method="POST", path="/v1/contexts", answer=upload, takes=Media(type=ANY), gives={201: (UploadNote,)}
        ),
        ServiceEndpoint(method="GET", path="/v1/contexts", answer=uploads, gives={200: (UploadPage,)}),
        ServiceEndpoint(method="DELETE", path=about, answer=delete_upload, gives={204: NOTHING}),
        ServiceEndpoint(method="GET", path="/metrics", answer=metrics, gives={200: (Media(type="text/plain"),)}),
    ]


async def health(_request: web.Request) -> web.Response:
    """Say that the service answers."""
    return reply(Health())


async def submit(request: web.Request) -> web.Response:
    """Take a request for a run."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and (not 0 < len(key) <= KEY_CHARS or key.startswith(PREFIX)):
        raise RequestRefused(422, f"an Idempotency-Key has 1 to {KEY_CHARS} characters, not {PREFIX} first")
    asked = await asked_of(request, NewRun)
    note = await request.app[DESK].submit(caller_of(request), asked, key=key)
    return reply(note, 202, Location=f"/v1/runs/{note.id}")


async def page(request: web.Request) -> web.Response:
    """List runs, the newest first; as CSV where `format=csv` asks for it."""
    asked = query_of(request, PageQuery)
    found = request.app[DESK].page(caller_of(request), asked)
    following = {} if found.next is None else {"Link": _link(request, found.next)}
    if asked.format == "json":
        return reply(found, 200, **following)
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["id", "state", "created_at", "ended_at", "model", "cost_usd", "duration_s", "prompt"])
    for run in found.runs:
        cost, time_s = (None, None) if run.result is None else (run.result.cost_usd, run.result.duration_s)
        cells = [run.id, run.state, run.created_at, run.ended_at, run.model, cost, time_s, run.prompt]
        rows.writerow([_cell(cell) for cell in cells])
    return web.Response(text=file.getvalue(), content_type=CSV, headers=following)


async def show(request: web.Request) -> web.Response:
    """Show how a run stands."""
    return reply(request.app[DESK].note(caller_of(request), request.match_info["id"]))


async def result(request: web.Request) -> web.Response:
    """Give what a run came to; `wait` is how many seconds to wait for that."""
    desk, caller, run_id = request.app[DESK], caller_of(request), request.match_info["id"]
    wait_s = query_of(request, ResultQuery).wait
    with suppress(TimeoutError):
        if wait_s:
            async with asyncio.timeout(min(wait_s, WAIT_S)):
                return reply(await desk.result(caller, run_id))
    note = desk.note(caller, run_id)
    return reply(note.result) if note.result is not None else reply(note, 202)


async def control(request: web.Request) -> web.Response:
    """Act on a run in progress."""
    asked = await asked_of(request, NewAct)
    return reply(request.app[DESK].act(caller_of(request), request.match_info["id"], asked))


async def events(request: web.Request) -> web.StreamResponse:
    """Send the events of a run as they happen, from the one after Last-Event-ID."""
    desk, caller, run_id = request.app[DESK], caller_of(request), request.match_info["id"]
    desk.note(caller, run_id)
    last = request.headers.get("Last-Event-ID")
    after = query_of(request, EventsQuery).after if not last else _number(last, "Last-Event-ID")
    answer = ServerSentEvents(request, desk.config.service.read_s)
    with suppress(ConnectionResetError):  # the reader has gone, and may come back with its last number
        await answer.prepare(request)
        looked_at = time.monotonic()
        async for each in with_silences(desk.events(caller, run_id, after + 1), ALIVE_S):
            if time.monotonic() - looked_at > LOOK_S:
                if not is_still_known(request):
                    return answer
                looked_at = time.monotonic()
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


async def submit_list(request: web.Request) -> web.Response:
    """Take a list of tasks, each a run of its own that begins once those that it needs have completed."""
    asked = await asked_of(request, NewTaskList)
    list_id = await request.app[LISTS].submit(caller_of(request), asked.tasks)
    return reply(_listed(request, list_id), 202, Location=f"/v1/task-lists/{list_id}")


async def show_list(request: web.Request) -> web.Response:
    """Show how a task list stands, and what its tasks came to; `wait` is how many seconds to wait for its end."""
    wait_s = query_of(request, ResultQuery).wait
    if wait_s:
        await request.app[LISTS].ended(request.match_info["id"], min(wait_s, WAIT_S))
    return reply(_listed(request, request.match_info["id"]))


async def cancel_list(request: web.Request) -> web.Response:
    """Cancel a task list: what is in progress lands, and nothing more of it begins."""
    lists, list_id = request.app[LISTS], request.match_info["id"]
    lists.tasks(caller_of(request), list_id)
    await lists.cancel(caller_of(request), list_id)
    return reply(_listed(request, list_id))


def _listed(request: web.Request, list_id: str) -> TaskListNote:
    found = request.app[LISTS].tasks(caller_of(request), list_id)
    tasks = [ListedRun(task=name, run=note) for name, note in found]
    return TaskListNote(id=list_id, state=state_of([note for _, note in found]), tasks=tasks)


async def upload(request: web.Request) -> web.Response:
    """Keep data for runs that are about it."""
    note = await request.app[DESK].uploads(caller_of(request)).add(pieces_of(request))
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
    """Count runs by their states, and what they cost, as Prometheus reads it; for the owner alone."""
    if not caller_of(request).is_owner:
        raise RequestRefused(403, "metrics are about all tokens: only the owner sees them")
    desk = request.app[DESK]
    lines = ["# HELP rlm_runs Runs by state.", "# TYPE rlm_runs gauge"]
    lines += [f'rlm_runs{{state="{state}"}} {count}' for state, count in sorted(desk.counts().items())]
    lines += ["# HELP rlm_cost_usd What the runs that have ended cost, in US dollars.", "# TYPE rlm_cost_usd gauge"]
    lines += [f"rlm_cost_usd {desk.cost_usd()!r}"]
    return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


def _link(request: web.Request, before: str) -> str:
    """The address of the next page, as RFC 8288 has it."""
    return f'<{request.rel_url.update_query(before=before)}>; rel="next"'


def _sent(each: Numbered) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (each.number, each.event.type.encode(), encode(each.event))


def _number(text: str, name: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    raise RequestRefused(422, f"{name}: expected a whole number")


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
