"""The paths of the service that cc_executor has, an earlier system, for its clients: lists of tasks run in order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from rlm.core.fields import Seconds  # noqa: TC001 (msgspec reads it at run time)
from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)
from rlm.service.endpoints import Media, ServiceEndpoint
from rlm.service.guards import DESK, LISTS, asked_of, caller_of, reply
from rlm.service.lists import state_of
from rlm.service.messages import ResultNote
from rlm.service.websocket import new_runs
from rlm.version import __version__

if TYPE_CHECKING:
    from aiohttp import web


class Tasks(Struct, frozen=True, kw_only=True):
    """A list of tasks: prompts that are run in order, each with a fresh conversation."""

    tasks: list[str]
    timeout_per_task: Seconds | None = None
    given: dict[str, Json] = {}
    """Other fields of a request for a run, as `POST /v1/runs` takes them."""


class ListBegun(Struct, frozen=True, kw_only=True):
    """A list of tasks that was taken."""

    execution_id: str
    tasks: int
    """How many there are."""
    status: str = "running"


class TaskNote(Struct, frozen=True, kw_only=True):
    """A task, as it stands."""

    run_id: str
    status: str
    prompt: str


class ListStatus(Struct, frozen=True, kw_only=True):
    """A list of tasks, as it stands."""

    execution_id: str
    status: str
    completed_tasks: int
    total_tasks: int
    tasks: list[TaskNote]


class TaskResult(ResultNote, frozen=True, kw_only=True):
    """What a task came to."""

    task: str
    """The beginning of its prompt."""


class ListResults(Struct, frozen=True, kw_only=True):
    """What the tasks of a list came to, as far as they have ended."""

    execution_id: str
    status: str
    results: list[TaskResult]


class ListCancelled(Struct, frozen=True, kw_only=True):
    """A list of tasks that was cancelled."""

    execution_id: str
    status: str = "cancelled"


class AuthStatus(Struct, frozen=True, kw_only=True):
    """Which models can be called."""

    status: Literal["authenticated", "not_authenticated"]
    models: list[str]
    message: str
    """How others are set up."""


class SocketTransport(Struct, frozen=True, kw_only=True):
    """How the WebSocket is reached."""

    url: str
    type: Literal["websocket"] = "websocket"
    protocol: Literal["jsonrpc-2.0"] = "jsonrpc-2.0"


class SocketManifest(Struct, frozen=True, kw_only=True):
    """By which address and methods the WebSocket is used."""

    transport: SocketTransport
    name: str = "rlm"
    version: str = __version__
    methods: tuple[str, ...] = ("execute", "control", "subscribe")


def endpoints() -> list[ServiceEndpoint]:
    """The endpoints of this face."""
    found, about = "/executions/{id}", "/.well-known/mcp/rlm.json"
    ended: tuple[type | Media, ...] = (ListResults,)
    return [
        ServiceEndpoint(method="POST", path="/execute", answer=execute, takes=Tasks, gives={202: (ListBegun,)}),
        ServiceEndpoint(method="GET", path=f"{found}/status", answer=status, gives={200: (ListStatus,)}),
        ServiceEndpoint(method="GET", path=f"{found}/results", answer=results, gives={200: ended, 202: ended}),
        ServiceEndpoint(method="DELETE", path=found, answer=cancel, gives={200: (ListCancelled,)}),
        ServiceEndpoint(method="GET", path="/auth/status", answer=auth_status, gives={200: (AuthStatus,)}),
        ServiceEndpoint(method="GET", path=about, answer=manifest, gives={200: (SocketManifest,)}),
    ]


async def execute(request: web.Request) -> web.Response:
    """Take a list of tasks."""
    asked = await asked_of(request, Tasks)
    runs = new_runs(asked.tasks, asked.timeout_per_task, asked.given)
    list_id = await request.app[LISTS].submit(caller_of(request), runs)
    begun = ListBegun(execution_id=list_id, tasks=len(runs))
    return reply(begun, 202, Location=f"/executions/{list_id}/status")


async def status(request: web.Request) -> web.Response:
    """Show how a list stands."""
    notes = request.app[LISTS].notes(caller_of(request), request.match_info["id"])
    done = sum(note.result is not None for note in notes)
    return reply(
        ListStatus(
            execution_id=request.match_info["id"],
            status=state_of(notes),
            completed_tasks=done,
            total_tasks=len(notes),
            tasks=[TaskNote(run_id=note.id, status=note.state, prompt=note.prompt) for note in notes],
        )
    )


async def results(request: web.Request) -> web.Response:
    """Give what the tasks of a list came to, as far as they have ended."""
    notes = request.app[LISTS].notes(caller_of(request), request.match_info["id"])
    found = [
        TaskResult(task=note.prompt, **{**msgspec.structs.asdict(note.result), "run_id": note.id})
        for note in notes
        if note.result is not None
    ]
    body = ListResults(execution_id=request.match_info["id"], status=state_of(notes), results=found)
    return reply(body, 200 if len(found) == len(notes) else 202)


async def cancel(request: web.Request) -> web.Response:
    """Cancel a list."""
    lists, caller, list_id = request.app[LISTS], caller_of(request), request.match_info["id"]
    await lists.cancel(caller, list_id)
    return reply(ListCancelled(execution_id=list_id))


async def auth_status(request: web.Request) -> web.Response:
    """Show which models the token may use, and how others are set up."""
    from rlm.backends import default_model, ways

    models = request.app[DESK].models(caller_of(request))
    found = models or tuple(filter(None, [default_model(os.environ)]))
    return reply(
        AuthStatus(
            status="authenticated" if found else "not_authenticated",
            models=list(found),
            message="models can be called" if found else ways(),
        )
    )


async def manifest(request: web.Request) -> web.Response:
    """Say by which address and methods the WebSocket is used."""
    return reply(SocketManifest(transport=SocketTransport(url=f"ws://{request.host}/ws/mcp")))
