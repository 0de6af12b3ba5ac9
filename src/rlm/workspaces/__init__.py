"""Whole commands in sandboxes, watched: a folder goes up, an agent or any command works on it alone, and what it
changed comes home.

`rlm sandbox` is the command line of it. A workspace is a machine of a provider with a folder `/workspace`; it has a
network only where that was asked for, ends by itself when its time is over, and has a row in the user's store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm.workspaces.running import SandboxRun as SandboxRun
    from rlm.workspaces.running import arun_in_sandbox as arun_in_sandbox
    from rlm.workspaces.running import run_in_sandbox as run_in_sandbox
    from rlm.workspaces.values import CommandResult as CommandResult
    from rlm.workspaces.workspace import SandboxWorkspace as SandboxWorkspace

_PLACES = {
    "CommandResult": "values",
    "SandboxRun": "running",
    "SandboxWorkspace": "workspace",
    "arun_in_sandbox": "running",
    "run_in_sandbox": "running",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"rlm.workspaces.{_PLACES[name]}"), name)
