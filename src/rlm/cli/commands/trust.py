"""`rlm trust`: let a project file set what only a trusted file may set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rlm.core.config.files import ConfigFile

NOT_TRUSTED = 1


def trust(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="[default: the rlm.toml in force here]")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Stop trusting it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> int:
    """Trust a project's rlm.toml, or a task list, as it is now.

    When it changes, it needs trust again. Shows what the file sets that needs trust: what runs commands, reads files,
    redirects requests and their keys, or lifts your caps.
    """
    from rlm.cli.console import say
    from rlm.core.config.files import read_config_file
    from rlm.core.config.trust import TrustRecord

    path, record = _path(file), TrustRecord.of(os.environ)
    if revoke:
        say(f"{path} is no longer trusted" if record.remove(path) else f"{path} was not trusted")
        return 0
    content = read_config_file(path)
    if not _agreed(content, yes=yes):
        say("nothing was changed")
        return NOT_TRUSTED
    record.add(content)
    say(f"{path} is trusted as it is now")
    return 0


def _path(file: str | None) -> Path:
    from rlm.core.config.files import PROJECT_FILE, find_project_file
    from rlm.core.exceptions import ConfigError

    if file is not None:
        path = Path(file).absolute()
        return path / PROJECT_FILE if path.is_dir() else path
    found = find_project_file(Path.cwd())
    if found is None:
        raise ConfigError(f"there is no {PROJECT_FILE} here\nname the file, or make one with rlm init")
    return found


def _agreed(file: ConfigFile, *, yes: bool) -> bool:
    from rlm.cli.console import say
    from rlm.core.config import asked_of_user
    from rlm.core.exceptions import ConfigError
    from rlm.core.plain import plain
    from rlm.jobs.tasks.trusting import asked_of_tasks, is_task_file

    guarded = asked_of_tasks(file, os.environ) if is_task_file(file) else asked_of_user(file, os.environ)
    say(f"{file.path} sets:" if guarded else f"{file.path} sets nothing that needs trust")
    for key in guarded:
        above = f"  (above the {key.most} that you allow)" if key.most else ""
        say(f"  {plain(key.name)} = {plain(repr(key.value))}{above}")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(
            "nobody can be asked, since stdin isn't a terminal\nread the file, and say --yes if you agree with it"
        )
    return typer.confirm("trust this file as it is now?", err=True)
