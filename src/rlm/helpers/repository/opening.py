"""Opens the git repository of a workspace, which must lie within it, with its programs overridden.

The files that git writes must belong to the repository: an entry of its folder that is a symlink, or has a second name
elsewhere, would let a commit message or the log of a branch land in any of the user's files.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import check_text, shown
from rlm.helpers.repository.program import GitProgram, search_path
from rlm.helpers.repository.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.helpers.workspace import Workspace

_STATES = {
    "MERGE_HEAD": "merging",
    "rebase-merge": "rebasing",
    "rebase-apply": "rebasing",
    "CHERRY_PICK_HEAD": "cherry-picking",
    "REVERT_HEAD": "reverting",
    "BISECT_LOG": "bisecting",
}
_OTHERS = frozenset(("hooks", "modules", "worktrees", "lfs", "annex", "rr-cache"))
_OBJECTS = re.compile(r"objects/[0-9a-f]{2}")
_MAX_BORROWED = 20
_MAX_ALTERNATES_BYTES = 100_000
_UNTRUSTED = (
    "git does not trust this repository, for its owner is somebody else; if you do: "
    "git config --global --add safe.directory FOLDER"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository that was checked and is safe to use."""

    top: Path
    git_folder: Path
    common: Path
    """The git folder that it shares with its other working trees; the same as `git_folder` if it has none."""
    git: GitProgram
    settings: Settings
    here: str = "."
    """The folder that "." means, from the top: not the top itself where the caller works in a folder below it."""

    @property
    def state(self) -> str | None:
        """What is under way in the repository, such as `merging`; None if nothing is."""
        return next((state for name, state in _STATES.items() if os.path.lexists(self.git_folder / name)), None)

    def require_calm(self, operation: str) -> None:
        """Check that no merge or the like is under way, for `operation`.

        Raises:
            ToolError: one is.
        """
        if self.state is not None:
            raise ToolError(f"{operation}: the repository is {self.state}: finish or abort that first.")

    def paths(self, given: Iterable[str]) -> list[str]:
        """The paths for git, relative to the repository's top, as `git_status` names them; "." is all.

        They are used as they are written, since git tracks symlinks rather than following them.

        Raises:
            ToolError: a path leads out, or can't be one.
        """
        return [self._path(path) for path in given]

    def require_known(self, names: Iterable[str]) -> None:
        """Check that names exist or are tracked: an unknown name must not look like an unchanged file.

        Raises:
            ToolError: a name is neither.
        """
        for name in names:
            if not os.path.lexists(self.top / name) and self.git.run("ls-files", "--error-unmatch", "--", name).code:
                raise ToolError(f"there is no {shown(name)} in the repository.")

    def _path(self, path: str) -> str:
        check_text(path)
        if path == ".":
            return self.here
        above, last = os.path.split(path)
        whole = os.path.join(os.path.realpath(above) if path.startswith("/") else self.top / above, last)  # noqa: PTH118
        name = os.path.relpath(whole, self.top)
        parts = name.casefold().split("/")
        if parts[0] == ".." or ".git" in parts:
            raise ToolError(f"{shown(path)} is not in the working tree of the repository.")
        return name


def open_repository(work: Workspace, path: str) -> Repository:
    """The repository that the folder `path` is in; its top must be in the workspace, but for the user's own code.

    Raises:
        ToolError: there is no such repository, it reaches out of the workspace, could be changed while git runs, or git
            does not trust it.
    """
    top = _top(work, path)
    environ = {**work.environ, "PATH": search_path(work.environ, work.confined.roots)}
    git = GitProgram(folder=str(top), environ=environ, as_user=True, extra={"GIT_CEILING_DIRECTORIES": str(top.parent)})
    folder, common = _folders(top, git)
    _require_own(work, folder, common)
    settings = read_settings(git)
    settings.require_fixed()
    # As was just checked, git and the user's settings trust this folder; the later commands don't read those settings.
    overrides = {**settings.overrides(), "safe.directory": str(top)}
    return Repository(
        top=top,
        git_folder=folder,
        common=common,
        git=replace(git, as_user=False, overrides=overrides),
        settings=settings,
        here=_here(work, top),
    )


def _top(work: Workspace, path: str) -> Path:
    if path in ("", ".") and len(work.confined.roots) > 1:
        raise ToolError("there are several folders here: say by `path` which one's repository is meant.")
    place = work.existing(str(work.confined.roots[0]) if path in ("", ".") else path)
    folder = place.path if place.path.is_dir() else place.path.parent
    for candidate in (folder, *folder.parents):
        if os.path.lexists(candidate / ".git"):
            return candidate
        if candidate == place.root and not work.is_own:
            break
    raise ToolError(f"{shown(path)} is in no git repository whose top folder is in this workspace.")


def _here(work: Workspace, top: Path) -> str:
    """The workspace from the top of the repository, if it lies below that."""
    root = work.confined.roots[0]
    return os.path.relpath(root, top) if root != top and root.is_relative_to(top) else "."


def _folders(top: Path, git: GitProgram) -> tuple[Path, Path]:
    """The repository's own git folder, and the one that it shares with its other working trees.

    Raises:
        ToolError: git can't use it or does not trust it, or its working tree is elsewhere.
    """
    asked = ("rev-parse", "--path-format=absolute", "--show-toplevel", "--absolute-git-dir", "--git-common-dir")
    done = git.run(*asked)
    if done.code:
        # The text before may quote any file that the configuration includes.
        why = done.said[done.said.find("fatal: ") :] if "fatal: " in done.said else "its configuration can't be read"
        raise ToolError(_UNTRUSTED if "dubious ownership" in why else f"git cannot use it: {why}")
    found = [Path(os.path.realpath(os.fsdecode(line))) for line in done.output.splitlines()]
    if len(found) != len(asked) - 2 or found[0] != top:
        raise ToolError("its core.worktree leads elsewhere, so it is left alone.")
    return found[1], found[2]


def _require_own(work: Workspace, folder: Path, common: Path) -> None:
    """Check that all files of a repository are its own.

    Raises:
        ToolError: git would read or write files elsewhere.
    """
    try:
        for each in (folder, common, *_borrowed(common / "objects")):
            _require_inside(work, each)
        for each in {folder, common}:
            for name, entry in _entries(each):
                if _is_elsewhere(name, entry):
                    raise ToolError(f"{shown(name)} in its .git is a symlink or a hard link, so it is left alone.")
    except OSError as error:
        raise ToolError(f"its .git cannot be read: {error.strerror}.") from error


def _require_inside(work: Workspace, folder: Path) -> None:
    if work.is_own:
        return
    inside = [folder.relative_to(root).parts for root in work.confined.roots if folder.is_relative_to(root)]
    if not inside:
        raise ToolError("it keeps its objects outside of the workspace, so it is left alone.")
    # An edit could change a setting after it was read and before git uses it.
    if "write" in work.rights and any(".git" not in parts for parts in inside):
        raise ToolError(
            f"edits can reach {shown(folder.name)}, in which it keeps its things, while git runs, for that is in no "
            "folder called .git: it is left alone, but where the right 'write' is not given."
        )


def _entries(top: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The entries that git reads and writes, by their names in the git folder; without objects, hooks and the like."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(top / below) as found:
            for entry in found:
                name = f"{below}{entry.name}"
                if name not in _OTHERS:
                    yield name, entry
                    if entry.is_dir(follow_symlinks=False) and not _OBJECTS.fullmatch(name):
                        waiting.append(f"{name}/")


def _is_elsewhere(name: str, entry: os.DirEntry[str]) -> bool:
    """Whether writing to an entry would change another file; objects, which never change, don't count."""
    if entry.is_symlink():
        return True
    with suppress(FileNotFoundError):  # a lock file that is gone again
        found = entry.stat(follow_symlinks=False)
        return stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and not name.startswith("objects/")
    return False


def _borrowed(objects: Path) -> set[Path]:
    """All folders that the repository takes objects from: its own, and those that it borrows from, directly or not.

    Raises:
        ToolError: there are too many, or a name that git may read differently.
    """
    found: set[Path] = set()
    waiting = [Path(os.path.realpath(objects))]
    while waiting:
        each = waiting.pop()
        alternates = each / "info" / "alternates"
        if each not in found and alternates.is_file():
            lines = alternates.read_bytes().split(b"\n") if alternates.stat().st_size < _MAX_ALTERNATES_BYTES else []
            if not lines or any(line.startswith(b'"') for line in lines) or len(found) == _MAX_BORROWED:
                raise ToolError("it borrows objects in a way that can't be followed, so it is left alone.")
            waiting += [Path(os.path.realpath(each / os.fsdecode(line))) for line in lines]
        found.add(each)
    return found
