"""The paths of the service that cc_executor has, an earlier system, for its clients: lists of tasks run in order."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from rlm.core.fields import Seconds  # noqa: TC001 (msgspec reads it at run time)
from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)
from rlm.service.guards import DESK, LISTS, body_of, caller_of, reply
from rlm.service.lists import state_of
from rlm.service.websocket import new_runs
from rlm.version import __version__


class Tasks(Struct, frozen=True, kw_only=True):
    """A list of tasks: prompts that are run in order, each with a fresh conversation."""

    tasks: list[str]
    timeout_per_task: Seconds | None = None
    given: dict[str, Json] = {}
    """Other fields of a request for a run, as `POST /v1/runs` takes them."""


def routes() -> list[web.RouteDef]:
    """The routes of this face."""
    return [
        web.post("/execute", execute),
        web.get("/executions/{id}/status", status, allow_head=False),
        web.get("/executions/{id}/results", results, allow_head=False),
        web.delete("/executions/{id}", cancel),
        web.get("/auth/status", auth_status, allow_head=False),
        web.get("/.well-known/mcp/rlm.json", manifest, allow_head=False),
    ]


async def execute(request: web.Request) -> web.Response:
    """Take a list of tasks."""
    asked = msgspec.json.decode(await body_of(request), type=Tasks)
    runs = new_runs(asked.tasks, asked.timeout_per_task, asked.given)
    list_id = await request.app[LISTS].submit(caller_of(request), runs)
    body = {"execution_id": list_id, "status": "running", "tasks": len(runs)}
    return reply(body, 202, Location=f"/executions/{list_id}/status")


async def status(request: web.Request) -> web.Response:
    """Show how a list stands."""
    notes = request.app[LISTS].notes(caller_of(request), request.match_info["id"])
    done = sum(note.result is not None for note in notes)
    body = {
        "execution_id": request.match_info["id"],
        "status": state_of(notes),
        "completed_tasks": done,
        "total_tasks": len(notes),
        "tasks": [{"run_id": note.id, "status": note.state, "prompt": note.prompt} for note in notes],
    }
    return reply(body)


async def results(request: web.Request) -> web.Response:
    """Give what the tasks of a list came to, as far as they have ended."""
    notes = request.app[LISTS].notes(caller_of(request), request.match_info["id"])
    found: list[Any] = [
        {"run_id": note.id, "task": note.prompt, **msgspec.to_builtins(note.result)}
        for note in notes
        if note.result is not None
    ]
    body = {"execution_id": request.match_info["id"], "status": state_of(notes), "results": found}
    return reply(body, 200 if len(found) == len(notes) else 202)


async def cancel(request: web.Request) -> web.Response:
    """Cancel a list."""
    lists, caller, list_id = request.app[LISTS], caller_of(request), request.match_info["id"]
    await lists.cancel(caller, list_id)
    return reply({"execution_id": list_id, "status": "cancelled"})


async def auth_status(request: web.Request) -> web.Response:
    """Show which models the token may use, and how others are set up."""
    from rlm.backends import default_model, ways

    models = request.app[DESK].models(caller_of(request))
    found = models or tuple(filter(None, [default_model(os.environ)]))
    body = {
        "status": "authenticated" if found else "not_authenticated",
        "models": list(found),
        "message": "models can be called" if found else ways(),
    }
    return reply(body)


async def manifest(request: web.Request) -> web.Response:
    """Say by which address and methods the WebSocket is used."""
    body = {
        "name": "rlm",
        "version": __version__,
        "transport": {"type": "websocket", "url": f"ws://{request.host}/ws/mcp", "protocol": "jsonrpc-2.0"},
        "methods": ["execute", "control", "subscribe"],
    }
    return reply(body)
