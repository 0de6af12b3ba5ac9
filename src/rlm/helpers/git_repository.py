"""Opens the git repository of a workspace: one that lies in it whole, and whose every command is disarmed.

A repository is a stranger's: its settings can name programs for filters, diffs, signing and more, under names of its
own. They are read first, which runs nothing; each is overridden for all later commands.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.git_run import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rlm.helpers.workspace import Workspace

_STATES = {
    "MERGE_HEAD": "merging",
    "rebase-merge": "rebasing",
    "rebase-apply": "rebasing",
    "CHERRY_PICK_HEAD": "cherry-picking",
    "REVERT_HEAD": "reverting",
    "BISECT_LOG": "bisecting",
}
_COMMANDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), instead)
    for pattern, instead in (
        (r"filter\..*\.(clean|smudge|process)", ""),
        (r"filter\..*\.required", "false"),
        (r"diff\..*\.(command|textconv)", ""),
        (r"diff\.external", ""),
        (r"merge\..*\.driver", "false"),
        (r"hook\..*\.command", "false"),
        (r"hook\..*\.enabled", "false"),
        (r"credential\..*\.helper", ""),
        (r"gpg\..*program", "false"),
        (r"trailer\..*\.(command|cmd)", "false"),
        (r"remote\..*\.receivepack", "git-receive-pack"),
        (r"remote\..*\.uploadpack", "git-upload-pack"),
        (r"core\.(sshcommand|editor|pager)", "false"),
        (r"(pager|alias)\..*", ""),
        (r"submodule\..*\.update", "none"),
    )
)
"""Settings that name programs, and what each is overridden by."""
_MAX_SETTINGS = 20_000
_UNTRUSTED = (
    "git does not trust this repository, for its owner is somebody else; if you do: "
    "git config --global --add safe.directory FOLDER"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository that was found fit to work with."""

    top: Path
    git_folder: Path
    git: Program
    work: Workspace

    @property
    def state(self) -> str | None:
        """What it is in the middle of, such as merging; None for nothing."""
        return next((state for name, state in _STATES.items() if os.path.lexists(self.git_folder / name)), None)

    def require_calm(self, operation: str) -> None:
        """Let `operation` pass unless a merge or the like is under way.

        Raises:
            ToolError: one is.
        """
        if self.state is not None:
            raise ToolError(f"{operation}: the repository is {self.state}: finish or abort that first.")

    def paths(self, given: Iterable[str]) -> list[str]:
        """Paths as git is to be given them, from its top; each leads into the repository and may be gone.

        Raises:
            ToolError: one leads out.
        """
        return [self._path(path) for path in given]

    def _path(self, path: str) -> str:
        place = self.work.confined.locate_new(path) if path not in ("", ".") else None
        found = self.top if place is None else place.path
        if not found.is_relative_to(self.top) or ".git" in found.relative_to(self.top).parts:
            raise ToolError(f"{shown(path)} is not in the working tree of the repository.")
        return found.relative_to(self.top).as_posix()


def open_repository(work: Workspace, path: str) -> Repository:
    """The repository that the folder `path` is in, no further up than the workspace.

    Raises:
        ToolError: there is none, it reaches out of the workspace, or git does not trust it.
    """
    top = _top(work, path)
    git = Program(folder=str(top), environ=work.environ, extra={"GIT_CEILING_DIRECTORIES": str(top.parent)})
    git = _with(git, dict(_trusted(git)))
    folder = _git_folder(work, top, git)
    return Repository(top=top, git_folder=folder, git=_with(git, dict(_disarmed(git))), work=work)


def user_setting(git: Program, name: str) -> str:
    """A setting of the repository or of its user, whose own file is read for this alone."""
    done = _as_user(git).run("config", "--get", "--", name)
    return done.output.decode("utf-8", "replace").strip() if done.code == 0 else ""


def _top(work: Workspace, path: str) -> Path:
    if path in ("", ".") and len(work.confined.roots) > 1:
        raise ToolError("there are several folders here: say by `path` which one's repository is meant.")
    place = work.existing(str(work.confined.roots[0]) if path in ("", ".") else path)
    folder = place.path if place.path.is_dir() else place.path.parent
    for candidate in (folder, *folder.parents):
        if os.path.lexists(candidate / ".git"):
            return candidate
        if candidate == place.root:
            break
    raise ToolError(f"{shown(path)} is in no git repository of this workspace.")


def _git_folder(work: Workspace, top: Path, git: Program) -> Path:
    """Where the repository keeps its things, if git agrees on its top and all of it is in the workspace."""
    asked = ("rev-parse", "--path-format=absolute", "--show-toplevel", "--absolute-git-dir", "--git-common-dir")
    done = git.run(*asked)
    if done.code:
        raise ToolError(_UNTRUSTED if "dubious ownership" in done.said else f"git cannot use it: {done.said}")
    found = [Path(os.path.realpath(os.fsdecode(line))) for line in done.output.splitlines()]
    if len(found) != len(asked) - 2 or found[0] != top:
        raise ToolError("its core.worktree leads elsewhere, so it is left alone.")
    for folder in (*found[1:], *_borrowed(found[2])):
        if not any(folder.is_relative_to(root) for root in work.confined.roots):
            raise ToolError("it keeps its objects outside of the workspace, so it is left alone.")
    return found[1]


def _borrowed(common: Path) -> Iterator[Path]:
    """Where it takes objects from besides its own."""
    alternates = common / "objects" / "info" / "alternates"
    yield Path(os.path.realpath(common / "objects"))
    if alternates.is_file():
        for line in alternates.read_bytes().splitlines():
            yield Path(os.path.realpath(common / "objects" / os.fsdecode(line)))


def _disarmed(git: Program) -> Iterator[tuple[str, str]]:
    """An override for every setting that names a program."""
    names = git.checked("config", "--list", "--name-only", "-z").output.split(b"\0")
    if len(names) > _MAX_SETTINGS:
        raise ToolError(f"its configuration has more than {_MAX_SETTINGS:,} settings, so it is left alone.")
    for name in {os.fsdecode(each) for each in names if each}:
        for pattern, instead in _COMMANDS:
            if pattern.fullmatch(name):
                yield name, instead
                if pattern is _COMMANDS[0][0]:  # one that must run would fail instead
                    yield f"{name.rpartition('.')[0]}.required", "false"


def _trusted(git: Program) -> Iterator[tuple[str, str]]:
    """The folders that the user's own settings tell git to trust, as far as one: this."""
    # Asked outside of any repository: here only the user's own file is read.
    listed = _as_user(git, folder="/").run("config", "--global", "--get-all", "-z", "safe.directory")
    values = {os.fsdecode(each) for each in listed.output.split(b"\0")}
    if "*" in values or git.folder in values:
        yield "safe.directory", git.folder


def _as_user(git: Program, folder: str | None = None) -> Program:
    own = {name: git.environ[name] for name in ("HOME", "XDG_CONFIG_HOME") if name in git.environ}
    home = Path(own.get("HOME", "/nonexistent"))
    base = Path(own.get("XDG_CONFIG_HOME") or home / ".config")
    files = (home / ".gitconfig", base / "git" / "config")
    extra = {**git.extra, **own, "GIT_CONFIG_GLOBAL": next((str(file) for file in files if file.is_file()), os.devnull)}
    return Program(folder=folder or git.folder, environ=git.environ, overrides=git.overrides, extra=extra)


def _with(git: Program, overrides: Mapping[str, str]) -> Program:
    return Program(folder=git.folder, environ=git.environ, overrides={**git.overrides, **overrides}, extra=git.extra)
