"""One entry of the undo journal: a folder with a manifest, and one file each for all bytes before and after.

When an entry is written or taken back is up to `journal`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ToolError
from rlm.helpers.changes import digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.helpers.changes import Edit

_MANIFEST, _BEFORE, _AFTER = "manifest.json", "before", "after"


class KeptContent(msgspec.Struct, frozen=True, kw_only=True):
    """Where an entry keeps the content of a file, with its size and SHA-256."""

    start: int
    size: int
    sha256: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an entry."""

    path: bytes
    """The absolute path, without symlinks; bytes, since a file name may not be text."""
    before: KeptContent | None
    """None if the file didn't exist."""
    after: KeptContent | None
    missing: int = 0
    """As `ConfinedPath.missing`: the folders that are made for a new file, or go with one that is removed."""
    mode: int | None = None
    """The permission bits of the file where it is made anew."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an entry: the edit, and its files."""

    label: str
    at: float
    """Unix time in seconds."""
    rows: list[Row]
    undoable: bool = True
    undoes: list[str] = []
    """The entries that this one undoes; they are removed when it is done."""
    roots: list[bytes] = []
    """The folders of its workspace, in which it may be rolled back from any other."""
    rollbacks: int = 0
    """How many edits had been rolled back when this one was planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedIn:
    """The circumstances in which an edit was planned."""

    roots: tuple[Path, ...]
    at: float
    rollbacks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """An entry on disk."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> JournalEntry:
        """Read the manifest in `folder`.

        Raises:
            ToolError: the manifest is missing or damaged.
        """
        try:
            content = (folder / _MANIFEST).read_bytes()
            return cls(folder=folder, manifest=msgspec.json.decode(content, type=Manifest))
        except (OSError, msgspec.DecodeError) as error:
            raise _damaged(folder) from error

    @property
    def token(self) -> str:
        """The name of the entry in all its states; nobody outside can guess it."""
        return self.folder.stem.rpartition("-")[2]

    def part(self, number: int) -> str:
        """The name under which the new content of the file in row `number` waits beside it; see `WAITING`."""
        return f".{self.token}-{number}.rlm"

    def moved_to(self, folder: Path) -> JournalEntry:
        """Rename the entry, which takes it from one state to the next, atomically."""
        self.folder.rename(folder)
        return JournalEntry(folder=folder, manifest=self.manifest)

    def before(self, row: Row) -> bytes:
        """What the file of `row` held; empty if it didn't exist.

        Raises:
            ToolError: it is damaged.
        """
        return self._content(_BEFORE, row.before)

    def after(self, row: Row) -> bytes:
        """What the file of `row` is to hold.

        Raises:
            ToolError: it is damaged.
        """
        return self._content(_AFTER, row.after)

    def forget_after(self) -> None:
        """Remove what undo doesn't need: the content of files after the edit."""
        (self.folder / _AFTER).unlink(missing_ok=True)

    def _content(self, name: str, kept: KeptContent | None) -> bytes:
        if kept is None:
            return b""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(kept.start)
                content = file.read(kept.size)
        except OSError as error:
            raise _damaged(self.folder) from error
        if digest(content) != kept.sha256:
            raise _damaged(self.folder)
        return content


def keep(folder: Path, edit: Edit, plan: PlannedIn) -> None:
    """Write the entry of an edit, and sync it to disk.

    Raises:
        OSError: the entry can't be written.
    """
    folder.mkdir(mode=0o700)
    before = _write(folder / _BEFORE, (change.before for change in edit.changes))
    after = _write(folder / _AFTER, (change.after for change in edit.changes))
    rows = [
        Row(path=os.fsencode(change.place.path), before=old, after=new, missing=change.place.missing, mode=change.mode)
        for change, old, new in zip(edit.changes, before, after, strict=True)
    ]
    manifest = Manifest(
        label=edit.label,
        at=plan.at,
        rows=rows,
        undoable=edit.undoable,
        undoes=list(edit.undoes),
        roots=[os.fsencode(root) for root in plan.roots],
        rollbacks=plan.rollbacks,
    )
    _write(folder / _MANIFEST, [msgspec.json.encode(manifest)])
    sync(folder)


def has_after(folder: Path) -> bool:
    """Whether an entry still has the content of files after the edit: what follows an edit was not done to its end."""
    return (folder / _AFTER).exists()


def sync(folder: Path) -> None:
    """Sync the names in a folder to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(path: Path, contents: Iterable[bytes | None]) -> list[KeptContent | None]:
    """Write one content after the other into a new file, and return where each is kept."""
    kept: list[KeptContent | None] = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        for content in contents:
            known = digest(content)
            kept.append(
                None if known is None else KeptContent(start=file.tell(), size=len(content or b""), sha256=known)
            )
            file.write(content or b"")
        file.flush()
        os.fsync(fd)
    return kept


def described(folder: Path) -> str:
    """The place of something in the journal, for a message that must not name the host's folders."""
    return f"{'/'.join(folder.parts[-3:]).removeprefix('rlm/')} in the state folder of rlm"


def _damaged(folder: Path) -> ToolError:
    return ToolError(f"the undo journal is damaged: remove {described(folder)} to go on without that edit.")
