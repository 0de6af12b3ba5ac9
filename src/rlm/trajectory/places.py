"""Where records go: into a folder for each project in the user's state folder, unless `log_dir` names another. Git is
told to leave them alone wherever they are.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.config.files import project_root, user_folder
from rlm.core.exceptions import ConfigError
from rlm.trajectory.reader import PROJECT_DIGEST_CHARS, open_record

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_CHARS = 40
_ODD = re.compile(r"[^\w.-]+", re.ASCII)
_RECORDS = "/" + "[0-9a-f]" * 32 + ".*"
"""A record and what stands beside it, as git matches them."""
_MARK = f"# records of rlm runs, which may hold secrets\n{_RECORDS}\n/index.sqlite*\n/.gitignore\n"


def log_folder(log_dir: str | None, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The folder that `log_dir` means; None: that of the project which `cwd` is in, under the user's state folder.

    Raises:
        ConfigError: none is named, and the user has no home.
    """
    if log_dir is not None:
        return Path(log_dir)
    root = Path(os.path.realpath(project_root(cwd or Path.cwd())))
    name = _ODD.sub("-", root.name).strip("-.")[:_NAME_CHARS] or "root"
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:PROJECT_DIGEST_CHARS]
    return all_projects(environ) / f"{name}-{digest}"


def all_projects(environ: Mapping[str, str] | None = None) -> Path:
    """The folder with the folders of all projects of this user, whose environment this is.

    Raises:
        ConfigError: the user has no home.
    """
    state = user_folder(os.environ if environ is None else environ, "XDG_STATE_HOME", ".local/state")
    if state is None:
        raise ConfigError("there is no home for the records of runs: set HOME or XDG_STATE_HOME, or name a log_dir")
    return state / "runs"


def is_in_state_folder(record: Path) -> bool:
    """Whether a record lies in the user's state folder, which nobody else reads and nothing is committed from."""
    with suppress(ConfigError):  # without a home there is no such folder
        return Path(os.path.realpath(record)).is_relative_to(os.path.realpath(all_projects()))
    return False


def is_users_own(record: Path, log_dir: str | None, cwd: Path | None = None) -> bool:
    """Whether a record is surely of a run of this user: it is in the user's state folder, or in a `log_dir` that is
    named by its whole path and lies outside of the project that `cwd` is in. Others may have come with the project.
    """
    if is_in_state_folder(record):
        return True
    folder = Path(os.path.realpath(record)).parent
    if log_dir is None or not Path(log_dir).is_absolute() or folder != Path(os.path.realpath(log_dir)):
        return False
    return not folder.is_relative_to(os.path.realpath(project_root(cwd or Path.cwd())))


def make_folder(log_dir: Path) -> None:
    """Create the folder if need be, and have git ignore it; in a folder that is there, only what runs write.

    Raises:
        OSError: it can't be created.
    """
    try:
        log_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_dir.mkdir(mode=0o700)
        mark = "*\n"
    except FileExistsError:
        mark = _MARK
    if os.path.lexists(log_dir / ".git"):  # the ignore rules of a whole repository are for its users to write
        _exclude_if_possible(log_dir)
        return
    try:
        fd = os.open(log_dir / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:  # the user's own, or ours
        _exclude_if_possible(log_dir)
        return
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(mark)


def _exclude_if_possible(log_dir: Path) -> None:
    with suppress(OSError):  # a run does not depend on what a repository lets one write
        _exclude(log_dir)


def _exclude(log_dir: Path) -> None:
    """Where the folder has ignore rules of the user's own: exclude the records in the repository's `info/exclude`,
    which is never committed.
    """
    where = Path(os.path.abspath(log_dir))  # noqa: PTH100 - git goes by the path as it is written
    own = _lines(where / ".gitignore")
    top = next((folder for folder in (where, *where.parents) if os.path.lexists(folder / ".git")), None)
    repository = None if top is None else _repository(top / ".git")
    if "*" in own or _RECORDS in own or top is None or repository is None:
        return
    inside = where.relative_to(top).as_posix()
    prefix = "" if inside == "." else "/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", inside)
    rules = [f"{prefix}{_RECORDS}", f"{prefix}/index.sqlite*"]
    exclude = repository / "info" / "exclude"
    known = _lines(exclude)
    if missing := [rule for rule in rules if rule not in known]:
        exclude.parent.mkdir(exist_ok=True)
        fd = os.open(exclude, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"\n{rule}" for rule in missing) + "\n")


def _repository(dot_git: Path) -> Path | None:
    """The folder of a repository, which all its worktrees share; None where that doesn't name this worktree as its own,
    for then it may be anyone's.
    """
    if dot_git.is_symlink():
        return None
    if dot_git.is_dir():
        return dot_git
    linked = Path(dot_git.parent, _first_line(dot_git).removeprefix("gitdir: "))
    back = _first_line(linked / "gitdir")
    if not back or os.path.realpath(linked / back) != os.path.realpath(dot_git):
        return None
    return Path(os.path.realpath(linked / _first_line(linked / "commondir")))


def _first_line(path: Path) -> str:
    return next(iter(_lines(path)), "")


def _lines(path: Path) -> list[str]:
    """The lines of a small file; empty where it isn't a readable regular file."""
    try:
        with open_record(path) as file:
            return file.read(1 << 20).decode("utf-8", "surrogateescape").splitlines()
    except ConfigError:
        return []
