"""`metrics`: a line for each run and task that ends goes to `metrics.jsonl` in the user's state folder."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from rlm.core.config.files import user_folder
from rlm.hooks.values import HookResult

if TYPE_CHECKING:
    from rlm.hooks.values import HookContext


def record(context: HookContext) -> HookResult:
    """Append what a run or a task came to; a file that can't be written keeps nothing from going on."""
    state = user_folder(os.environ, "XDG_STATE_HOME", ".local/state")
    if state is None:
        return HookResult(proceed=True, message="nowhere to write metrics: set HOME")
    row = {
        "at": round(time.time(), 3),
        "point": context.point,
        "run": context.run_id,
        "task": context.task,
        "model": context.model,
        "status": context.status,
        "duration_s": round(context.duration_s, 3),
        "cost_usd": context.cost_usd,
    }
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(state / "metrics.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab", buffering=0) as file:
            file.write(json.dumps(row).encode() + b"\n")
    except OSError as error:
        return HookResult(proceed=True, message=f"metrics could not be written: {error.strerror}")
    return HookResult(proceed=True)


HOOKS = {"post_run": record, "on_error": record, "post_task": record}
