"""The tools that look at the runs in progress of this user and steer them, whichever process makes them: the acts of
`rlm ctl`, for a host's model. They own nothing; the process of each run is asked over its own socket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from mcp.server.mcpserver import Context  # noqa: TC002 (the signatures are read at run time)
from pydantic import Field

from rlm.core.exceptions import ToolError
from rlm.core.plain import one_line
from rlm.runtime.asking import act_on, live_run, live_runs
from rlm.runtime.control import Action, written_act
from rlm.runtime.control_socket import socket_folder

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.runtime.control import RunStatus

LISTED = 100
"""How many runs are listed at most."""

RunName = Annotated[str, Field(description="The id of a run in progress, the beginning of one, or last.")]


async def monitor_execution(
    run: Annotated[
        str, Field(description="The id of a run in progress, the beginning of one, or last; empty: list all of them.")
    ] = "",
) -> str:
    """Show the runs in progress on this machine: state, spend, caps, what each waits for, and its children.

    A run that has ended is no longer here: read its record, the resource rlm://runs/{run}.
    """
    if run:
        return _described(await live_run(_folder(), run))
    found = await live_runs(_folder())
    if not found:
        return "No run is in progress."
    lines = [_line(each) for each in found[-LISTED:]]
    left_out = f"\n({len(found) - LISTED} older ones are not listed)" if len(found) > LISTED else ""
    return "\n".join(lines) + left_out


async def control_execution(
    ctx: Context[Any, Any],
    run: RunName,
    action: Annotated[
        Action,
        Field(
            description="pause (nothing new starts, its clock stands), resume, cancel (ends it with its best answer so "
            "far), set (a cap), say (a message to its next turn)."
        ),
    ],
    given: Annotated[
        str,
        Field(
            description="With set: CAP=VALUE, as in token_budget=2000000 (a cap is max_turns, max_depth, token_budget, "
            "cost_budget_usd, tool_budget, subcall_budget, timeout_s or record_bytes; none removes it). With say: the "
            "message. With cancel: the id of a child, which alone is ended; empty, the whole run."
        ),
    ] = "",
    why: Annotated[str, Field(description="The reason, for the record.")] = "",
) -> str:
    """Steer a run in progress on this machine, whoever started it; returns how it stands then.

    Every act is in the record of the run. Ask the user first: cancel ends work that was paid for, and a higher cap
    spends more. monitor_execution lists the runs.
    """
    act = written_act(action, given, who=_who(ctx), why=why)
    return _described(await act_on(_folder(), run, act))


def _folder() -> Path:
    """Raises:
    ToolError: this user has no home.
    """
    folder = socket_folder(os.environ)
    if folder is None:
        raise ToolError("there is no home for the sockets of runs: set HOME or XDG_STATE_HOME")
    return folder


def _who(ctx: Context[Any, Any]) -> str:
    """The name that the client goes by."""
    parameters = ctx.session.client_params
    return f"mcp client {one_line(parameters.client_info.name, 60)}" if parameters is not None else "an mcp client"


def _line(run: RunStatus) -> str:
    cost = "cost unknown" if run.cost_usd is None else f"${run.cost_usd:.4f}"
    return (
        f"{run.id}  {run.state}  {one_line(run.model, 40)}  {run.turns} turns  {run.tokens:,} tokens  {cost}  "
        f"{run.elapsed_s:.1f} s  {one_line(run.prompt, 80)}"
    )


def _described(run: RunStatus) -> str:
    return msgspec.json.format(msgspec.json.encode(run), indent=2).decode()
