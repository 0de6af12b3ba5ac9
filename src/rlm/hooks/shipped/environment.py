"""`environment`: a Python project of the workspace gets a virtual environment before the first run or task."""

from __future__ import annotations

import venv
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.hooks.values import HookResult

if TYPE_CHECKING:
    from rlm.hooks.values import HookContext

_SIGNS = ("pyproject.toml", "setup.py", "requirements.txt")


def set_up(context: HookContext) -> HookResult:
    """Make `.venv` where a folder of the workspace has a Python project and none yet; nothing is installed."""
    made = []
    for folder in map(Path, context.workspace):
        if any((folder / sign).is_file() for sign in _SIGNS) and not (folder / ".venv").exists():
            venv.create(folder / ".venv", with_pip=False, symlinks=True)
            made.append(str(folder / ".venv"))
    return HookResult(proceed=True, message=f"made {', '.join(made)}" if made else "")


HOOKS = {"pre_run": set_up, "pre_task": set_up}
