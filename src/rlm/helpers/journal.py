"""Writes edits all or none, and keeps what files held before, so that edits can be undone.

An edit is staged (an entry with the bytes before and after), then committed: the folders that it needs are made,
and every file is compared with what it was, written beside its place and renamed into it. A commit that fails or is
cut off, even by a kill, is rolled back: at once, or by whoever opens the journal next. A file that someone else has
changed is never overwritten, and what can't be put back is kept and named, never dropped. Folders that were made are
removed again if they are empty; those of an undone edit come last.

The state of an entry is the end of its folder's name, so that each step is one rename: `.staged`, `.committing`, then
`.done`, or `.spent` where it can't be undone; `.stuck` is for people to look at, `.trash` is on its way out.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import MAX_EDIT_BYTES, Change, Edit, digest
from rlm.helpers.journal_entries import JournalEntry, described, keep, sync
from rlm.helpers.safe_files import ChangedMeanwhile, Files, FileStep, Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rlm.core.paths import ConfinedPath
    from rlm.core.types import Json
    from rlm.helpers.journal_entries import KeptContent, Row
    from rlm.helpers.workspace import Workspace

MAX_ENTRIES = 100
MAX_BYTES = 1 << 30
"""The most bytes that the journal of one workspace keeps; the oldest entries are dropped first."""
LOCK_S = 30.0
"""How many seconds an edit waits for another one."""
_STALE_S = 600.0
_POLL_S = 0.02
_NAMED = 100
_LOST_NAMED = 20
_OTHERS_WRITE = 0o022


class UndoJournal:
    """The undo journal of one workspace."""

    def __init__(self, work: Workspace) -> None:
        if not work.journal:
            raise ToolError("the undo journal has nowhere to be kept: set HOME or XDG_STATE_HOME; nothing was changed.")
        self._work = work
        self._folder = Path(work.journal)
        self._files = Files(work.confined)

    def stage(self, edit: Edit) -> str:
        """Keep an edit that is to be committed, and return the name of its entry.

        Raises:
            ToolError: the journal can't be written.
        """
        token = secrets.token_hex(8)
        staged = self._folder / f"{token}.staged"
        with self._usable():
            self._make()
            try:
                keep(staged, edit, time.time())
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise
        return token

    def commit(self, token: str) -> None:
        """Write every file of a staged entry, or none.

        Raises:
            ToolError: a file was changed meanwhile or can't be written; nothing was changed.
        """
        staged = self._folder / f"{token}.staged"
        try:
            with self._locked():
                self._commit(JournalEntry.open(staged))
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
                self._take_back(JournalEntry.open(self._folder / name), changes)
        files: list[Json] = [change.name for change in list(changes.values())[:_NAMED]]
        facts: dict[str, Json] = {"undone": count, "files_restored": len(changes), "files": files}
        return Edit(
            label="fs.undo",
            changes=tuple(changes.values()),
            facts=facts,
            dry_run=dry_run,
            undoable=False,
            undoes=tuple(names),
        )

    def history(self, limit: int) -> list[Json]:
        """The edits that can be undone, the newest first."""
        with self._usable():
            if not self._folder.exists():
                return []
        with self._locked():
            return [self._described(JournalEntry.open(self._folder / name)) for name in self._done()[:limit]]

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
            changes[row.path] = Change(place=place, name=name, before=now, after=before)
        if sum(change.size_bytes for change in changes.values()) > MAX_EDIT_BYTES:
            raise ToolError("fs.undo: that is too much at once: undo fewer edits.")

    def _commit(self, entry: JournalEntry) -> None:
        places = [self._work.recorded(row.path) for row in entry.manifest.rows]
        folders = [FileStep(place=place) for place in self._folders_made(entry)]
        entry = entry.moved_to(self._folder / f"{entry.token}.committing")
        writes = [_write(entry, number, place) for number, place in enumerate(places)]
        try:
            sync(self._folder)
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

    def _folders_made(self, entry: JournalEntry) -> list[ConfinedPath]:
        """The folders that an edit makes, each after its parent."""
        return self._folders(row for row in entry.manifest.rows if row.before is None)

    def _folders(self, rows: Iterable[Row]) -> list[ConfinedPath]:
        """The folders that didn't exist before the files of `rows`, without those whose path leads elsewhere by now."""
        found: dict[ConfinedPath, None] = {}
        for row in rows:
            if row.missing > 1:
                with suppress(ToolError):
                    found.update(dict.fromkeys(self._work.recorded(row.path, row.missing).missing_folders))
        return [*found]

    def _settled(self, entry: JournalEntry) -> JournalEntry:
        """Mark a committed entry as done: from here on the edit counts as made and can be undone."""
        if entry.manifest.undoable and entry.manifest.rows:
            number = max((int(name.partition("-")[0]) for name in self._done()), default=0) + 1
            return entry.moved_to(self._folder / f"{number:010}-{entry.token}.done")
        return entry.moved_to(self._folder / f"{entry.token}.spent")

    def _finish(self, entry: JournalEntry) -> None:
        """Drop what a finished entry no longer needs, the entries that it undoes, and those that are too old."""
        with suppress(OSError):  # the edit is made; the next one cleans up the rest
            sync(self._folder)
            if entry.folder.suffix == ".spent":
                self._files.unmake(self._folders(row for row in entry.manifest.rows if row.after is None))
                for name in entry.manifest.undoes:
                    _remove(self._folder / name)
                _remove(entry.folder)
            else:
                entry.forget_after()
            self._trim()

    def _trim(self) -> None:
        room = MAX_BYTES
        for number, name in enumerate(self._done()):
            folder = self._folder / name
            room -= sum(kept.stat().st_size for kept in folder.iterdir())
            if number >= MAX_ENTRIES or room < 0:
                _remove(folder)

    def _done(self) -> list[str]:
        """The names of the entries that can be undone, the newest first."""
        return sorted((path.name for path in self._folder.glob("*.done")), reverse=True)

    def _taken_back(self, entry: JournalEntry, writes: Sequence[FileStep], folders: Sequence[FileStep]) -> str:
        """Roll back the steps that have begun; see `_roll_back`."""
        made = [each.place for each in folders if each.begun]
        return self._roll_back(entry, [each.begun for each in writes], made)

    def _roll_back(self, entry: JournalEntry, begun: Sequence[bool], made: Sequence[ConfinedPath]) -> str:
        """Restore each file that a commit has, or may have, replaced, and say what became of them.

        A file that is neither as it was before nor as it was to become is somebody else's work and left alone.
        """
        rows = enumerate(zip(entry.manifest.rows, begun, strict=True))
        lost = [row.path for number, (row, may) in rows if not self._restored(entry, number, row, may)]
        empty = self._files.unmake(made)
        if not lost:
            _remove(entry.folder)
            names = self._listed([os.fsencode(place.path) for place in empty])
            return f"nothing was changed, but empty folders are left: {names}" if empty else "nothing was changed"
        return f"these could not be restored: {self._listed(lost)}; {self._set_aside(entry.folder)}"

    def _restored(self, entry: JournalEntry, number: int, row: Row, begun: bool) -> bool:
        """Restore a file if need be; returns whether it now is as it was before the commit of `entry`."""
        part = _part(entry, number)
        try:
            place = self._work.recorded(row.path)
            self._files.clear(place, part)
            if not begun or self._holds(place, row.before):
                return True
            load = partial(entry.before, row)
            write = Write(place=place, was=row.after, becomes=row.before, load=load, part=part)
            self._files.prepare([write])
            self._files.replace([write])
        except (ToolError, OSError):
            return not begun
        return True

    def _holds(self, place: ConfinedPath, kept: KeptContent | None) -> bool:
        try:
            self._files.content(place, kept)
        except ChangedMeanwhile:
            return False
        return True

    def _set_aside(self, folder: Path) -> str:
        """Move an entry that can be neither finished nor rolled back out of the way, for its user to look at."""
        stuck = folder.with_suffix(".stuck")
        folder.rename(stuck)
        return f"what they held before is kept in {described(stuck)}"

    def _listed(self, paths: Sequence[bytes]) -> str:
        more = [f"and {len(paths) - _LOST_NAMED:,} more"] if len(paths) > _LOST_NAMED else []
        return ", ".join([*map(self._work.recorded_name, paths[:_LOST_NAMED]), *more])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the journal, and first roll back what earlier commits left behind."""
        with self._usable():
            self._make()
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _wait_for(lock)
                self._recover()
                yield
            finally:
                os.close(lock)

    def _recover(self) -> None:
        for left in sorted(self._folder.iterdir()):
            if left.suffix == ".committing":
                self._recovered(left)
            elif left.suffix == ".spent":
                self._finish(JournalEntry.open(left))
            elif left.suffix == ".trash" or (left.suffix == ".staged" and _is_stale(left)):
                shutil.rmtree(left, ignore_errors=True)

    def _recovered(self, left: Path) -> None:
        """Roll back a commit that was cut off.

        Raises:
            ToolError: not all of it could be rolled back; it is out of the way of the next call.
        """
        try:
            entry = JournalEntry.open(left)
        except ToolError:
            became = self._set_aside(left)
        else:
            became = self._roll_back(entry, [True] * len(entry.manifest.rows), self._folders_made(entry))
        if left.with_suffix(".stuck").exists():
            raise ToolError(
                f"an earlier edit was cut off, and not all of it could be taken back: {became}. "
                "This call did nothing; later ones leave it at that."
            )

    def _make(self) -> None:
        """Make the folder of the journal, in which nobody else may write."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._folder, self._folder.parent):
            found = folder.lstat()
            mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if not mine or found.st_mode & _OTHERS_WRITE:
                raise PermissionError(0, "it is a link, or others may write in it")

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn errors of the journal itself into errors for the caller."""
        try:
            yield
        except OSError as error:
            where = described(self._folder)
            raise ToolError(
                f"the undo journal ({where}) cannot be used: {error.strerror}; nothing was changed."
            ) from error


def _write(entry: JournalEntry, number: int, place: ConfinedPath) -> Write:
    row = entry.manifest.rows[number]
    load = partial(entry.after, row)
    return Write(place=place, was=row.before, becomes=row.after, load=load, part=_part(entry, number))


def _wait_for(lock: int) -> None:
    """Take the lock, waiting up to `LOCK_S`.

    Raises:
        ToolError: somebody else still holds it.
    """
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ToolError(
                    f"another edit of these folders has not ended for {LOCK_S:g} s: nothing was changed; try later."
                ) from None
            time.sleep(_POLL_S)


def _part(entry: JournalEntry, number: int) -> str:
    return f".{entry.token}-{number}.rlm"


def _remove(folder: Path) -> None:
    """Remove an entry so that a part of it is never taken for a whole one."""
    trash = folder.with_suffix(".trash")
    with suppress(FileNotFoundError):
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def _reason(error: OSError) -> str:
    return "was changed since" if isinstance(error, ChangedMeanwhile) else f"cannot be read ({error.strerror})"


def _is_stale(staged: Path) -> bool:
    try:
        return time.time() - staged.stat().st_mtime > _STALE_S
    except FileNotFoundError:
        return False  # whoever staged it has removed it
