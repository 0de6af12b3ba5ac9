"""What `rlm ctl` asks the processes of this user: how their runs stand, and to act on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ConfigError
from rlm.runtime.control_socket import ask_all
from rlm.runtime.live_runs import LAST, ControlAnswer, ControlQuestion

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.runtime.control import Act, RunStatus


async def live_runs(folder: Path) -> list[RunStatus]:
    """Every run in progress of the processes that listen in `folder`, the oldest first."""
    found = [run for answer in await _asked(folder, ControlQuestion()) for run in answer.runs]
    return sorted(found, key=lambda run: run.started_at)


async def live_run(folder: Path, name: str) -> RunStatus:
    """The run in progress of that id, or whose id begins so; `last` is the one that began last.

    Raises:
        ConfigError: it fits no run in progress, or several.
    """
    runs = await live_runs(folder)
    found = runs[-1:] if name == LAST else [run for run in runs if run.id.startswith(name.lower())]
    if not runs:
        raise ConfigError("no run is in progress\nrlm logs list shows those that have ended")
    if len(found) != 1 or not name:
        said = "no run in progress begins" if not found else f"{len(found)} runs in progress begin"
        raise ConfigError(f"{said} with {name!r}\nrlm ctl shows the runs in progress")
    return found[0]


async def act_on(folder: Path, name: str, act: Act) -> RunStatus:
    """Do something with a run in progress, and return how it stands then.

    Raises:
        ConfigError: there is no such run, or it can't be done; says why.
    """
    run = await live_run(folder, name)
    answers = await _asked(folder, ControlQuestion(run=run.id, act=act))
    done = next((answer for answer in answers if answer.runs), None)
    if done is not None:
        return done.runs[0]
    said = [answer.error for answer in answers if not answer.is_unknown]
    raise ConfigError(said[0] if said else f"run {run.id} has ended by now")


async def _asked(folder: Path, asked: ControlQuestion) -> list[ControlAnswer]:
    lines = await ask_all(folder, msgspec.json.encode(asked))
    return [msgspec.json.decode(line, type=ControlAnswer) for line in lines]
