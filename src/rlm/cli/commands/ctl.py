"""`rlm ctl`: look at the runs in progress of this user, whichever process makes them, and steer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.runtime.control import Action, RunStatus

LIVE = "The id of a run in progress, the beginning of one, or last."
Run: TypeAlias = Annotated[str, Argument(metavar="RUN", help=LIVE)]
AsJson: TypeAlias = Annotated[bool, Option("--json", help="As JSON.")]
Why: TypeAlias = Annotated[str, Option("--why", metavar="TEXT", help="The reason, for the record.")]

_COLUMNS = "{:<8}  {:<7}  {:>7}  {:<24}  {:>5}  {:>11}  {:>9}  {:>8}  {:<24}  {}"
_HEADS = ("id", "state", "pid", "model", "turns", "tokens", "cost", "time", "waits for", "prompt")
_PROMPT_CHARS = 60


def list_runs(as_json: AsJson = False) -> int:
    """List the runs in progress, the oldest first."""
    import asyncio

    import msgspec

    from rlm.cli.console import say, write_out
    from rlm.runtime.asking import live_runs

    runs = asyncio.run(live_runs(_folder()))
    if as_json:
        write_out(msgspec.json.format(msgspec.json.encode(runs), indent=2).decode() + "\n")
    elif runs:
        lines = [_COLUMNS.format(*_HEADS), *(_COLUMNS.format(*_cells(run)) for run in runs)]
        write_out("".join(line.rstrip() + "\n" for line in lines))
    else:
        say("no run is in progress: rlm logs list shows those that have ended")
    return 0


def status(run: Run = "last", as_json: AsJson = False) -> int:
    """Show how a run stands: what it does, has spent, and waits for."""
    import asyncio

    import msgspec

    from rlm.cli.console import write_out
    from rlm.runtime.asking import live_run

    found = asyncio.run(live_run(_folder(), run))
    if as_json:
        write_out(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        write_out("\n".join(_described(found)) + "\n")
    return 0


def pause(run: Run = "last", why: Why = "") -> int:
    """Have a run start nothing new; what is under way ends, and its clock stands."""
    return _done(run, "pause", why)


def resume(run: Run = "last", why: Why = "") -> int:
    """Let a paused run go on."""
    return _done(run, "resume", why)


def cancel(
    run: Run = "last",
    child: Annotated[
        str, Option("--child", metavar="ID", help="Cancel this child alone; its parent goes on, and is told so.")
    ] = "",
    why: Why = "",
) -> int:
    """End a run with the best answer so far."""
    return _done(run, "cancel", why, child)


def set_cap(
    run: Run,
    cap: Annotated[str, Argument(metavar="CAP=VALUE", help="The cap and its new value, or none for no cap.")],
    why: Why = "",
) -> int:
    """Raise or lower a cap of a run; one below what is spent ends it with the best answer so far."""
    return _done(run, "set", why, cap)


def say(
    run: Run,
    text: Annotated[str, Argument(metavar="TEXT", help="What the model is told; - reads it from stdin.")],
    why: Why = "",
) -> int:
    """Say something to a run: its next turn begins with that message."""
    from rlm.cli.inputs import read_prompt

    return _done(run, "say", why, read_prompt(text))


def attach(run: Run = "last") -> int:
    """Follow a run until it ends, one line for each step."""
    import asyncio

    from rlm.cli.commands.logs import tail
    from rlm.runtime.asking import live_run

    return tail(asyncio.run(live_run(_folder(), run)).record, follow=True)


def _done(run: str, action: Action, why: str, given: str = "") -> int:
    """Do something with a run, and say how it stands then."""
    import asyncio

    from rlm.cli.console import write_out
    from rlm.runtime.asking import act_on
    from rlm.runtime.control import written_act

    found = asyncio.run(act_on(_folder(), run, written_act(action, given, who=_who(), why=why)))
    write_out(f"{found.id}  {action}: {found.state}\n")
    return 0


def _folder() -> Path:
    """Raises:
    ConfigError: this user has no home.
    """
    import os

    from rlm.core.exceptions import ConfigError
    from rlm.runtime.control_socket import socket_folder

    folder = socket_folder(os.environ)
    if folder is None:
        raise ConfigError("there is no home for the sockets of runs: set HOME or XDG_STATE_HOME")
    return folder


def _who() -> str:
    import os
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _cells(run: RunStatus) -> tuple[str, ...]:
    from rlm.core.plain import one_line

    return (
        run.id[:8],
        run.state,
        str(run.pid),
        one_line(run.model, 24),
        str(run.turns),
        f"{run.tokens:,}",
        "?" if run.cost_usd is None else f"${run.cost_usd:.4f}",
        f"{run.elapsed_s:.1f} s",
        one_line(", ".join(run.waits_for) or "-", 24),
        one_line(run.prompt, _PROMPT_CHARS),
    )


def _described(run: RunStatus) -> list[str]:
    from rlm.cli.moments import local_time
    from rlm.core.plain import one_line

    caps = ", ".join(f"{name} {'none' if cap is None else cap}" for name, cap in run.budget.items())
    return [
        f"run {run.id}: {run.state}, process {run.pid}",
        f"prompt: {one_line(run.prompt, 200)}",
        f"model: {one_line(run.model, 100)}, in {one_line(run.environment, 40)}",
        f"began {local_time(run.started_at)}, {run.elapsed_s:.1f} s ago on its clock",
        f"spent: {run.turns} turns, {run.cells} cells, {run.model_calls} model calls, {run.subcalls} sub-calls, "
        f"{run.tool_calls} tool calls, {run.tokens:,} tokens, "
        + ("cost unknown" if run.cost_usd is None else f"${run.cost_usd:.4f}"),
        f"caps: {caps}",
        f"waits for: {one_line(', '.join(run.waits_for) or 'nothing', 200)}",
        *(f"child {child.id} at depth {child.depth}: {one_line(child.prompt, 100)}" for child in run.children),
        f"record: {run.record}",
    ]
