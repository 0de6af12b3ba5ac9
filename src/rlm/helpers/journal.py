"""Writes edits all or none, and keeps what files held before, so that edits can be undone.

An edit is staged (an entry with the bytes before and after), then committed: the folders that it needs are made,
and every file is compared with what it was, written beside its place and renamed into it. A commit that fails or is
cut off, even by a kill, is rolled back: at once, or by `recovery`. A file that someone else has changed is never
overwritten, and what can't be put back is kept and named, never dropped. Folders that were made are removed again if
they are empty; those of an undone edit come last.

The state of an entry is its place and the end of its folder's name, so that each step is one rename: `.staged`,
`.committing` (among those of all journals), then `.done`, or `.spent` where it can't be undone; `.stuck` is for people
to look at, `.trash` is on its way out.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import Change, Edit, digest, require_size
from rlm.helpers.journal_entries import JournalEntry, PlannedIn, has_after, keep, sync
from rlm.helpers.journal_folder import JournalFolder
from rlm.helpers.recovery import recover, sweep
from rlm.helpers.roll_back import Rollback, folders_made, folders_of, remove
from rlm.helpers.safe_files import ChangedMeanwhile, Files, FileStep, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.paths import ConfinedPath
    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

MAX_ENTRIES = 100
MAX_BYTES = 1 << 30
"""The most bytes that the journal of one workspace keeps; the oldest entries are dropped first."""
_STALE_S = 600.0
_NAMED = 100


class UndoJournal:
    """The undo journal of one workspace."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._folder = JournalFolder.of(work)
        self._files = Files(work.confined)

    def stage(self, edit: Edit, rollbacks: int) -> str:
        """Keep an edit that is to be committed, and return the name of its entry.

        `rollbacks` is how many edits had been rolled back when it was planned. Raises:
            ToolError: the journal can't be written.
        """
        token = secrets.token_hex(8)
        staged = self._folder.staged(token)
        with self._folder.usable():
            self._folder.make()
            try:
                keep(staged, edit, PlannedIn(roots=self._work.confined.roots, at=time.time(), rollbacks=rollbacks))
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise
        return token

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep edits of this workspace from being written; nothing is kept where there never was one.

        Raises:
            ToolError: an edit that was cut off can't be rolled back, or another one does not end.
        """
        recover(self._work)
        if not self._folder.path.exists():
            yield
            return
        with self._locked():
            yield

    def commit(self, token: str) -> None:
        """Write every file of a staged entry, or none.

        Raises:
            ToolError: a file was changed meanwhile or can't be written; nothing was changed.
        """
        staged = self._folder.staged(token)
        try:
            recover(self._work)
            with self._locked():
                entry = JournalEntry.open(staged)
                if entry.manifest.rollbacks != self._folder.rollbacks():
                    raise ToolError(
                        "another edit was taken back while this one was planned, which may have seen half of it: "
                        "nothing was changed; call it again."
                    )
                self._commit(entry)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def undone(self, count: int, *, dry_run: bool) -> Edit:
        """The edit that takes back the last `count` entries.

        Raises:
            ToolError: there are fewer entries, a file is not as they left it, or the edit would be too large.
        """
        changes: dict[bytes, Change] = {}
        with self._locked():
            names = self._done()
            if count < 1:
                raise ToolError(f"fs.undo: n is how many edits are taken back, from 1; not {count}.")
            if count > len(names):
                raise ToolError(f"fs.undo: {len(names) or 'no'} edits can be undone here, not {count}.")
            names = names[:count]
            for name in names:
                self._take_back(JournalEntry.open(self._folder.path / name), changes)
        files: list[Json] = [change.name for change in list(changes.values())[:_NAMED]]
        facts: dict[str, Json] = {"undone": count, "files_restored": len(changes), "files": files}
        return Edit(
            label="fs.undo",
            changes=tuple(changes.values()),
            facts=facts,
            dry_run=dry_run,
            undoable=False,
            undoes=tuple(names),
            from_files=True,
        )

    def history(self, limit: int) -> list[Json]:
        """The edits that can be undone, the newest first."""
        with self._folder.usable():
            if not self._folder.path.exists():
                return []
        with self._locked():
            return [self._described(JournalEntry.open(self._folder.path / name)) for name in self._done()[:limit]]

    def _described(self, entry: JournalEntry) -> Json:
        rows = entry.manifest.rows
        files: list[Json] = [self._work.name(Path(os.fsdecode(row.path))) for row in rows[:10]]
        return {
            "operation": entry.manifest.label, "at": entry.manifest.at, "files_modified": len(rows), "files": files,
        }  # fmt: skip

    def _take_back(self, entry: JournalEntry, changes: dict[bytes, Change]) -> None:
        """Add to `changes` what takes back one entry; all later entries come before."""
        for row in entry.manifest.rows:
            later = changes.get(row.path)
            place = self._work.recorded(row.path, row.missing)
            name = self._work.name(place.path)
            try:
                now = self._files.content(place, row.after) if later is None else later.before
            except OSError as error:
                raise ToolError(f"{shown(name)} {_reason(error)}: nothing was undone.") from error
            if later is not None and digest(later.after) != (row.after and row.after.sha256):
                raise ToolError(f"{shown(name)} was changed by an edit that keeps no backup: nothing was undone.")
            before = None if row.before is None else entry.before(row)
            changes[row.path] = Change(place=place, name=name, before=now, after=before, mode=row.mode)
        require_size("fs.undo", changes.values(), "undo fewer edits")

    def _commit(self, entry: JournalEntry) -> None:
        places = [self._work.recorded(row.path) for row in entry.manifest.rows]
        folders = [FileStep(place=place) for place in folders_made(self._work, entry.manifest.rows)]
        entry = entry.moved_to(self._folder.committing(entry.token))
        writes = [_write(entry, number, place) for number, place in enumerate(places)]
        try:
            sync(self._folder.unfinished)
            self._files.make(folders)
            self._files.prepare(writes)
            self._files.replace(writes)
            entry = self._settled(entry)
        except OSError as error:
            failed = [shown(self._work.name(each.place.path)) for each in (*folders, *writes) if each.failed]
            left = self._taken_back(entry, writes, folders)
            name = failed[0] if failed else "the undo journal"
            raise ToolError(f"{name} cannot be written: {error.strerror or error}; {left}.") from error
        except BaseException:
            if entry.folder.exists():  # else the interrupt came after the edit was made
                self._taken_back(entry, writes, folders)
            raise
        self._finish(entry)

    def _settled(self, entry: JournalEntry) -> JournalEntry:
        """Mark a committed entry as done: from here on the edit counts as made and can be undone."""
        if entry.manifest.undoable and entry.manifest.rows:
            number = max((int(name.partition("-")[0]) for name in self._done()), default=0) + 1
            return entry.moved_to(self._folder.path / f"{number:010}-{entry.token}.done")
        return entry.moved_to(self._folder.path / f"{entry.token}.spent")

    def _finish(self, entry: JournalEntry) -> None:
        """Drop what a finished entry no longer needs, the entries that it undoes, and those that are too old."""
        with suppress(OSError):  # the edit is made; the next one cleans up the rest
            sync(self._folder.path)
            gone = (row for row in entry.manifest.rows if row.after is None)
            self._files.unmake(folders_of(self._work, gone))
            if entry.folder.suffix == ".spent":
                for name in entry.manifest.undoes:
                    remove(self._folder.path / name)
                remove(entry.folder)
            else:
                entry.forget_after()
            self._trim()

    def _trim(self) -> None:
        room = MAX_BYTES
        for number, name in enumerate(self._done()):
            folder = self._folder.path / name
            room -= sum(kept.stat().st_size for kept in folder.iterdir())
            if number >= MAX_ENTRIES or room < 0:
                remove(folder)

    def _done(self) -> list[str]:
        """The names of the entries that can be undone, the newest first."""
        return sorted((path.name for path in self._folder.path.glob("*.done")), reverse=True)

    def _taken_back(self, entry: JournalEntry, writes: Sequence[FileStep], folders: Sequence[FileStep]) -> str:
        """Roll back the steps that have begun, and say what became of them."""
        rollback = Rollback(journal=self._folder, work=self._work, entry=entry)
        made = [each.place for each in folders if each.begun]
        return rollback.of([each.begun for each in writes], made).told(self._work)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the journal, and first roll back what its earlier commits left behind."""
        with self._folder.locked():
            sweep(self._folder, self._work)
            self._tidy()
            yield

    def _tidy(self) -> None:
        """Finish the entries that were made and not cleaned up, and remove those that nobody commits any more."""
        for left in sorted(self._folder.path.iterdir()):
            if left.suffix == ".spent" or (left.suffix == ".done" and has_after(left)):
                self._finish(JournalEntry.open(left))
            elif left.suffix == ".trash" or (left.suffix == ".staged" and _is_stale(left)):
                shutil.rmtree(left, ignore_errors=True)


def _write(entry: JournalEntry, number: int, place: ConfinedPath) -> Write:
    row = entry.manifest.rows[number]
    load = partial(entry.after, row)
    part = entry.part(number)
    return Write(place=place, was=row.before, becomes=row.after, load=load, part=part, mode=row.mode)


def _reason(error: OSError) -> str:
    return "was changed since" if isinstance(error, ChangedMeanwhile) else f"cannot be read ({error.strerror})"


def _is_stale(staged: Path) -> bool:
    try:
        return time.time() - staged.stat().st_mtime > _STALE_S
    except FileNotFoundError:
        return False  # whoever staged it has removed it
