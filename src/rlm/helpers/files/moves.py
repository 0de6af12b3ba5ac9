"""`fs.move`, `fs.delete`: files and folders, text or not, with undo. What lies behind a symlink is never meant."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from stat import S_IMODE
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import ConfinedPath, shown
from rlm.helpers.changes import Change, edit
from rlm.helpers.operation import helper
from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json
    from rlm.helpers.changes import Edit
    from rlm.helpers.workspace import Workspace

_NAMED = 100
_STAY = ("symlinks", "records")
"""What stays in a folder whose files go."""


@helper("fs.move", right="write")
def move(work: Workspace, source: str, target: str, dry_run: bool = False) -> Edit:
    """Move a file, or a folder with all its files, all or none; nothing is overwritten, and code that names it stays.

    Args:
        source: The file or folder.
        target: Its new path; a folder that is there takes it in.
        dry_run: Change nothing and return a diff.
    """
    return replace(moved_files(work, source, target), dry_run=dry_run)


def moved_files(work: Workspace, source: str, target: str) -> Edit:
    """The edit that moves a file, or a folder with all its files.

    Raises:
        ToolError: there is no such file, something is at its new place, or a file of it can't be read.
    """
    going = _Going.of(work, source, "fs.move")
    place = work.new(target)
    if not place.missing and place.path.is_dir():
        target = f"{target}/{going.top.parts[-1]}"
        place = work.new(target)
    if not place.missing:
        raise ToolError(f"fs.move: there is {shown(work.name(place.path))} already; nothing was moved.")
    if going.top.path in place.path.parents:
        raise ToolError(f"fs.move: {shown(target)} is inside of {shown(source)}; nothing was moved.")
    changes: list[Change] = []
    for gone in going.changes:
        below = gone.place.parts[len(going.top.parts) :]
        to = ConfinedPath(root=place.root, parts=(*place.parts, *below), missing=place.missing + len(below))
        changes += (gone, replace(gone, place=to, name=work.name(to.path), before=None, after=gone.before))
    facts: dict[str, Json] = {"files_moved": len(going.changes), "to": work.name(place.path)}
    return edit("fs.move", changes, facts | going.left_out, from_files=True)


@helper("fs.delete", right="write")
def delete(work: Workspace, paths: str | list[str], dry_run: bool = False) -> Edit:
    """Delete files, and folders with all their files, all or none; hidden and git-ignored files in them go too.

    Args:
        paths: The files and folders; no patterns: fs.glob lists what fits one.
        dry_run: Change nothing and return a diff.
    """
    going = [_Going.of(work, path, "fs.delete") for path in ([paths] if isinstance(paths, str) else paths)]
    if not going:
        raise ToolError("fs.delete: name what to delete.")
    given = [change for each in going for change in each.changes]
    changes = {change.place: change for change in sorted(given, key=lambda change: change.place.missing)}
    files: list[Json] = [*sorted(change.name for change in changes.values())][:_NAMED]
    facts: dict[str, Json] = {"files_deleted": len(changes), "files": files}
    for each in going:
        facts |= each.left_out
    return edit("fs.delete", changes.values(), facts, dry_run=dry_run, from_files=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Going:
    """A file, or a folder with its files, that is to leave its place."""

    top: ConfinedPath
    changes: tuple[Change, ...]
    left_out: dict[str, Json]
    """The facts about what stays in a folder."""

    @classmethod
    def of(cls, work: Workspace, path: str, operation: str) -> _Going:
        """Read what is to go.

        Raises:
            ToolError: there is nothing, it is a whole workspace or reached by a symlink, or a file of it can't be read.
        """
        top, skipped = _plainly_named(work, path, operation), Skipped()
        if any(".git" in (*folders, *files) for _, folders, files in os.walk(top.path)):
            raise ToolError(f"{operation}: {shown(path)} has a git repository in it, which helpers leave alone.")
        contents = list(work.contents("**/*", str(top.path), skipped=skipped, hidden=True))
        if unread := [*skipped.too_large, *skipped.unreadable]:
            raise ToolError(f"{operation}: {shown(unread[0])} can't be kept for undo, so nothing was changed.")
        if not contents:
            raise ToolError(f"{operation}: there is no file in {shown(path)}.")
        stay: dict[str, Json] = {name: count for name, count in skipped.facts().items() if name in _STAY}
        left_out: dict[str, Json] = {"left_out": stay} if stay else {}
        return cls(top=top, changes=tuple(_gone(work, top, contents)), left_out=left_out)


def _gone(work: Workspace, top: ConfinedPath, contents: list[tuple[ConfinedPath, bytes]]) -> Iterator[Change]:
    """The removal of each file; the folders below the top go with them, and the top itself if it is one."""
    for place, content in contents:
        folders = max(0, len(place.parts) - len(top.parts))
        mode = S_IMODE(work.status(place).st_mode) & 0o777
        where = replace(place, missing=1 + folders)
        yield Change(place=where, name=work.name(place.path), before=content, after=None, mode=mode)


def _plainly_named(work: Workspace, path: str, operation: str) -> ConfinedPath:
    """The place of what a path names without the help of symlinks.

    Raises:
        ToolError: it is reached by one, is a whole workspace, or isn't there.
    """
    place = work.existing(path)
    if not place.parts or place.path in work.confined.roots:
        raise ToolError(f"{operation}: {shown(path)} is all that is allowed here: name what is in it.")
    if not f"/{place.path}".endswith(f"/{os.path.normpath(path)}"):
        raise ToolError(f"{operation}: {shown(path)} is reached by a symlink, and is {shown(work.name(place.path))}.")
    return place
