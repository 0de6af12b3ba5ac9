"""Writes edits all or none, and keeps what was there before, so that they can be undone.

An edit is staged (a folder of its own with the bytes before and after), then committed: every file is compared with
what it was, written beside its place, then renamed into it. A commit that fails or was cut off, by a kill too, is
rolled back: at once, or by whoever opens the journal next. A file that someone else has changed is never overwritten.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.places import Files, Write
from rlm.helpers.writing import Change, Edit, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

MAX_ENTRIES = 100
MAX_BYTES = 1 << 30
"""What the journal of one workspace may keep; the oldest entries go first."""
_STALE_S = 3600.0
_MANIFEST = "manifest.json"

State = Literal["staged", "committing", "done"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an entry."""

    path: str
    name: str
    before: str | None
    """SHA-256; None for no file."""
    after: str | None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry is about; the bytes are in files beside it, named by row: `0.before`, `0.after`."""

    label: str
    at: float
    """Unix time in seconds."""
    rows: list[Row]
    undoable: bool = True
    undoes: list[str] = []
    """Entries that are gone when this one is done."""


class Journal:
    """The undo journal of one workspace."""

    def __init__(self, work: Workspace) -> None:
        if not work.journal:
            raise ToolError("there is no home for the undo journal: set HOME or XDG_STATE_HOME; nothing was changed.")
        self._work = work
        self._folder = Path(work.journal)

    def stage(self, edit: Edit) -> str:
        """Keep an edit to be committed and return the name of its entry.

        Raises:
            ToolError: the journal can't be written.
        """
        rows = [
            Row(path=str(each.place.path), name=each.name, before=digest(each.before), after=digest(each.after))
            for each in edit.changes
        ]
        manifest = Manifest(
            label=edit.label, at=time.time(), rows=rows, undoable=edit.undoable, undoes=list(edit.undoes)
        )
        entry = f"{time.time_ns():020}-{os.getpid()}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = self._folder / f"{entry}.staged"
            folder.mkdir(mode=0o700)
            for number, change in enumerate(edit.changes):
                _keep(folder / f"{number}.before", change.before)
                _keep(folder / f"{number}.after", change.after)
            _keep(folder / _MANIFEST, msgspec.json.encode(manifest))
        except OSError as error:
            raise ToolError(f"the undo journal cannot be written ({error.strerror}): nothing was changed.") from error
        return entry

    def commit(self, entry: str) -> None:
        """Write every file of a staged entry, or none.

        Raises:
            ToolError: a file was changed meanwhile or can't be written; nothing was changed.
        """
        with self._locked():
            try:
                self._commit(self._folder / f"{entry}.staged", self._folder / f"{entry}.committing")
            finally:
                shutil.rmtree(self._folder / f"{entry}.staged", ignore_errors=True)
            self._settle(entry)

    def newest(self, count: int) -> list[str]:
        """The names of the last `count` entries that can be undone, the newest first."""
        with self._locked():
            return self._done()[:count]

    def undone(self, count: int, *, dry_run: bool) -> Edit:
        """The edit that takes the last `count` entries back.

        Raises:
            ToolError: there are not so many, or a file is not as they left it.
        """
        entries = self.newest(count)
        if not 1 <= count <= len(entries):
            raise ToolError(f"fs.undo: {len(self.newest(MAX_ENTRIES))} edits can be undone here, not {count}.")
        changes: dict[str, Change] = {}
        for entry in entries:
            folder = self._folder / f"{entry}.done"
            for number, row in enumerate(_manifest(folder).rows):
                changes[row.path] = self._taken_back(row, folder / f"{number}.before", changes.get(row.path))
        files: Json = [change.name for change in list(changes.values())[:100]]
        facts: dict[str, Json] = {"undone": len(entries), "files_restored": len(changes), "files": files}
        return Edit(
            label="fs.undo",
            changes=tuple(changes.values()),
            facts=facts,
            dry_run=dry_run,
            undoable=False,
            undoes=tuple(entries),
        )

    def history(self, limit: int) -> list[Json]:
        """What can be undone, the newest first."""
        return [self._described(entry) for entry in self.newest(limit)]

    def _described(self, entry: str) -> Json:
        manifest = _manifest(self._folder / f"{entry}.done")
        files: list[Json] = [row.name for row in manifest.rows[:10]]
        return {"operation": manifest.label, "at": manifest.at, "files_modified": len(manifest.rows), "files": files}

    def _taken_back(self, row: Row, kept: Path, later: Change | None) -> Change:
        files = Files(self._work.confined)
        place = self._work.confined.locate_new(row.path)
        now = files.read(place) if later is None else later.after
        if digest(now) != row.after:
            raise ToolError(f"{shown(row.name)} was changed since: nothing was undone.")
        before = None if row.before is None else kept.read_bytes()
        if digest(before) != row.before:
            raise ToolError(f"the undo journal is damaged at {shown(row.name)}: nothing was undone.")
        if later is None:
            return Change(place=place, name=row.name, before=now, after=before)
        return Change(place=place, name=row.name, before=later.before, after=before)

    def _commit(self, staged: Path, committing: Path) -> None:
        writes = self._writes(staged)
        files = Files(self._work.confined)
        try:
            files.prepare(writes)
            staged.rename(committing)
            _sync(self._folder)
            files.replace(writes)
        except OSError as error:
            files.discard(writes)
            stuck = self._roll_back(committing) if committing.exists() else []
            name = next((shown(each.name) for each in writes if each.failed), "a file")
            became = f"these could not be restored: {', '.join(stuck)}" if stuck else "nothing was changed"
            raise ToolError(f"{name} cannot be written: {error.strerror or error}; {became}.") from error
        except BaseException:
            files.discard(writes)
            raise

    def _settle(self, entry: str) -> None:
        """Make a committed entry one that can be undone, and let go of what it undoes and of what is too old."""
        folder = self._folder / f"{entry}.committing"
        manifest = _manifest(folder)
        for number in range(len(manifest.rows)):
            (folder / f"{number}.after").unlink(missing_ok=True)
        for name in manifest.undoes:
            shutil.rmtree(self._folder / f"{name}.done", ignore_errors=True)
        if manifest.undoable and manifest.rows:
            folder.rename(self._folder / f"{entry}.done")
        else:
            shutil.rmtree(folder)
        self._trim()

    def _trim(self) -> None:
        room = MAX_BYTES
        for number, entry in enumerate(self._done()):
            folder = self._folder / f"{entry}.done"
            room -= sum(kept.stat().st_size for kept in folder.iterdir())
            if number >= MAX_ENTRIES or room < 0:
                shutil.rmtree(folder, ignore_errors=True)

    def _done(self) -> list[str]:
        return sorted((path.stem for path in self._folder.glob("*.done")), reverse=True)

    def _writes(self, folder: Path) -> list[Write]:
        return [self._write_of(folder, number, row) for number, row in enumerate(_manifest(folder).rows)]

    def _write_of(self, folder: Path, number: int, row: Row) -> Write:
        after = None if row.after is None else (folder / f"{number}.after").read_bytes()
        return Write(place=self._work.confined.locate_new(row.path), name=row.name, expected=row.before, content=after)

    def _roll_back(self, committing: Path) -> list[str]:
        """Restore each file that a cut-off commit has replaced, and return those that can't be.

        One that is neither as it was nor as it was to become is somebody else's work and left alone.
        """
        files = Files(self._work.confined)
        stuck = []
        for number, row in enumerate(_manifest(committing).rows):
            try:
                place = self._work.confined.locate_new(row.path)
                now = digest(files.read(place))
                if now == row.after != row.before:
                    before = None if row.before is None else (committing / f"{number}.before").read_bytes()
                    write = Write(place=place, name=row.name, expected=now, content=before)
                    files.prepare([write])
                    files.replace([write])
            except (ToolError, OSError):
                stuck.append(shown(row.name))
        shutil.rmtree(committing)
        return stuck

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone in the journal, with what was left of earlier commits cleaned up."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self._folder.glob("*.committing"):
                self._roll_back(left)
            for left in self._folder.glob("*.staged"):
                if time.time() - left.stat().st_mtime > _STALE_S:
                    shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(lock)


def _manifest(folder: Path) -> Manifest:
    try:
        return msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise ToolError(f"the undo journal is damaged ({folder.name}): {error}") from error


def _keep(path: Path, content: bytes | None) -> None:
    if content is None:
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        if path.name != _MANIFEST:
            return
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
