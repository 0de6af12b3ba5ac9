"""Puts back what an edit that failed or was cut off has replaced, made, or left beside its files.

A file that is neither as it was before nor as it was to become is somebody else's work and left alone. The entry of an
edit that could not be put back whole is kept for its user to look at.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.helpers.journal_entries import described
from rlm.helpers.safe_files import ChangedMeanwhile, Files, Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rlm.core.paths import ConfinedPath
    from rlm.helpers.journal_entries import JournalEntry, KeptContent, Row
    from rlm.helpers.journal_folder import JournalFolder
    from rlm.helpers.workspace import Workspace

_LOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """The outcome of rolling an edit back."""

    lost: Sequence[bytes] = ()
    """The paths of the files that could not be restored."""
    folders: Sequence[bytes] = ()
    """The paths of the empty folders that could not be removed."""
    kept: Path | None = None
    """The place of the entry, with what the files held before; None if all files are as they were."""

    def told(self, work: Workspace) -> str:
        """The outcome in words, with names as callers in `work` know them."""
        if self.kept is None:
            left = f", but empty folders are left: {_listed(self.folders, work)}" if self.folders else ""
            return f"nothing was changed{left}"
        lost = f"these could not be restored: {_listed(self.lost, work)}; " if self.lost else ""
        return f"{lost}what they held before is kept in {described(self.kept)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The way back from an edit, by its entry."""

    journal: JournalFolder
    work: Workspace
    """The workspace that the edit was made in."""
    entry: JournalEntry

    def whole(self) -> RolledBack:
        """Roll back an edit of which nobody knows how far it came."""
        rows = self.entry.manifest.rows
        return self.of([True] * len(rows), folders_made(self.work, rows))

    def of(self, begun: Sequence[bool], made: Iterable[ConfinedPath]) -> RolledBack:
        """Restore each file that has, or may have, been replaced, and remove the folders that were made."""
        if any(begun):
            with suppress(OSError):  # a full disk must not keep files from being restored
                self.journal.count_rollback()
        files = Files(self.work.confined)
        rows = enumerate(zip(self.entry.manifest.rows, begun, strict=True))
        lost = [row.path for number, (row, may) in rows if not self._restored(files, number, row, may)]
        empty = [os.fsencode(place.path) for place in files.unmake(made)]
        if lost:
            return RolledBack(lost=lost, kept=set_aside(self.journal, self.entry.folder))
        remove(self.entry.folder)
        return RolledBack(folders=empty)

    def _restored(self, files: Files, number: int, row: Row, begun: bool) -> bool:
        """Restore a file if need be; returns whether it now is as it was before the edit."""
        part = self.entry.part(number)
        try:
            place = self.work.recorded(row.path)
            files.clear(place, part)
            if not begun or _holds(files, place, row.before):
                return True
            load = partial(self.entry.before, row)
            write = Write(place=place, was=row.after, becomes=row.before, load=load, part=part, mode=row.mode)
            files.prepare([write])
            files.replace([write])
        except (ToolError, OSError):
            return not begun
        return True


def folders_made(work: Workspace, rows: Iterable[Row]) -> list[ConfinedPath]:
    """The folders that an edit makes for its new files, each after its parent; see `folders_of`."""
    return folders_of(work, (row for row in rows if row.before is None))


def folders_of(work: Workspace, rows: Iterable[Row]) -> list[ConfinedPath]:
    """The folders that didn't exist before the files of `rows`, without those whose path leads elsewhere by now."""
    found: dict[ConfinedPath, None] = {}
    for row in rows:
        if row.missing > 1:
            with suppress(ToolError):
                found.update(dict.fromkeys(work.recorded(row.path, row.missing).missing_folders))
    return [*found]


def set_aside(journal: JournalFolder, entry: Path) -> Path:
    """Move an entry that can be neither finished nor rolled back out of the way, and return its new place."""
    return entry.rename(journal.stuck(entry.stem.rpartition("-")[2]))


def remove(entry: Path) -> None:
    """Remove an entry so that a part of it is never taken for a whole one."""
    trash = entry.with_suffix(".trash")
    with suppress(FileNotFoundError):
        entry.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def _holds(files: Files, place: ConfinedPath, kept: KeptContent | None) -> bool:
    try:
        files.content(place, kept)
    except ChangedMeanwhile:
        return False
    return True


def _listed(paths: Sequence[bytes], work: Workspace) -> str:
    more = [f"and {len(paths) - _LOST_NAMED:,} more"] if len(paths) > _LOST_NAMED else []
    return ", ".join([*map(work.recorded_name, paths[:_LOST_NAMED]), *more])
