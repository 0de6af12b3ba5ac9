"""What a task file may have done only once its user has said `rlm trust`: it may come with anybody's project, as an
`rlm.toml` may, and is held to the same rules."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from rlm.core.config import user_layers
from rlm.core.config.trust import GuardedKey, asked_by, require_trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.config.files import ConfigFile


def is_task_file(file: ConfigFile) -> bool:
    """Whether a file is a task list rather than a configuration."""
    return isinstance(file.table.get("tasks"), list)


def asked_of_tasks(file: ConfigFile, environ: Mapping[str, str]) -> list[GuardedKey]:
    """All in a task file that needs the trust of the user whose environment this is.

    Raises:
        ConfigError: the user's own file is wrong.
    """
    layers = user_layers(environ)
    asked = asked_by(replace(file, table={"rlm": {"model": file.table.get("model")}}), layers)
    for row in file.table["tasks"]:
        if isinstance(row, dict):
            asked += [
                replace(key, name=f"task {row.get('id')!r}: {key.name.removeprefix('rlm.')}")
                for key in (*asked_by(replace(file, table={"rlm": _settings(row)}), layers), *_asked_by_itself(row))
            ]
    return asked


def require_trust_in_tasks(file: ConfigFile, environ: Mapping[str, str]) -> None:
    """Let a task file pass that asks for nothing guarded, or that the user trusts as it is now.

    Raises:
        UntrustedConfigError: it is neither; names what it asks for and the way to allow it.
    """
    require_trust(file, asked_of_tasks(file, environ), environ)


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a task sets of the settings of its runs."""
    budget = row.get("budget")
    named = {name: row[name] for name in ("model", "session") if row.get(name) is not None}
    return {**named, **(budget if isinstance(budget, dict) else {})}


def _asked_by_itself(row: Mapping[str, Any]) -> Iterator[GuardedKey]:
    """What of a task no configuration has."""
    if row.get("executor", "rlm") != "rlm":
        yield GuardedKey(name="executor", value=row["executor"])
    files = row.get("files")
    outside = [
        name for name in (files if isinstance(files, list) else []) if isinstance(name, str) and _leads_out(name)
    ]
    if outside:
        yield GuardedKey(name="files", value=outside)


def _leads_out(path: str) -> bool:
    return path.startswith(("/", "~")) or PurePosixPath(os.path.normpath(path)).parts[:1] == (os.pardir,)
