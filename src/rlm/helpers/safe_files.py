"""Replaces files and makes folders by descriptor: nothing on the way may be a symlink, and the file that is replaced is
the one that was compared.

Only the journal uses it, to make several such steps all or none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rlm.core.exceptions import ToolError
from rlm.core.paths import ConfinedPath, open_file, open_subfolder, shown
from rlm.helpers.changes import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rlm.core.paths import Confined
    from rlm.helpers.changes import Change
    from rlm.helpers.journal_entries import KeptContent

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITABLE = 0o222
_MANY = 50
_NOT_OURS = (errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST)
_Step = TypeVar("_Step", bound="FileStep")


class ChangedMeanwhile(OSError):
    """A file has changed since the edit was planned."""

    def __init__(self) -> None:
        super().__init__(0, "it was changed meanwhile")


@dataclass(slots=True, kw_only=True)
class FileStep:
    """A folder to make, or a file to replace."""

    place: ConfinedPath
    begun: bool = False
    """Whether the folder may have been made, or the file replaced."""
    failed: bool = False


@dataclass(slots=True, kw_only=True)
class Write(FileStep):
    """A file to replace."""

    was: KeptContent | None
    """The content that the file must have before; None if it must not exist."""
    becomes: KeptContent | None
    """The content that it gets; None to remove it."""
    load: Callable[[], bytes]
    """Reads the new content."""
    part: str
    """The name under which the new content is written beside the file."""
    mode: int | None = None
    """The permission bits of a new file; None for those that the umask allows."""
    seen: tuple[int, int, int] | None = None
    """The inode, time and size of the file that was compared."""


class Files:
    """Files below the roots, opened component by component."""

    def __init__(self, confined: Confined) -> None:
        self._confined = confined

    def content(self, place: ConfinedPath, expected: KeptContent | None) -> bytes | None:
        """The content of a file, which must be as expected; None if no file is expected.

        Raises:
            ChangedMeanwhile: the file is not as expected.
            OSError: it can't be read.
        """
        try:
            with self._folder(place) as folder:
                return _compared(place.parts[-1], folder, expected)[0]
        except FileNotFoundError:  # even the folder is missing
            if expected is None:
                return None
            raise ChangedMeanwhile from None

    def foresee(self, changes: Iterable[Change]) -> None:
        """Check, without writing anything, that files can be replaced, and new ones made.

        Raises:
            ToolError: one of them can't.
        """
        for change in changes:
            try:
                self._foresee(change)
            except OSError as error:
                raise ToolError(
                    f"{shown(change.name)} cannot be written: {error.strerror}; nothing was changed."
                ) from error

    def _foresee(self, change: Change) -> None:
        place = change.place
        if change.before is None and place.missing > 1:
            place = ConfinedPath(root=place.root, parts=place.parts[: 1 - place.missing])
        name = place.parts[-1]
        with self._folder(place) as folder:
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
                raise PermissionError(errno.EACCES, "its folder is read-only", name)
            found = _status(name, folder)
            if found is not None and change.before is not None:
                _require_writable(name, folder, found)

    def make(self, folders: Sequence[FileStep]) -> None:
        """Make folders, each after its parent; a folder that somebody else has made meanwhile will do.

        Raises:
            OSError: a folder can't be made, or something else has its name; the ones made so far are marked as begun.
        """
        for step in folders:
            with self._folder_of(step) as above:
                _make(step, above)
        self._sync_names(folders)

    def unmake(self, folders: Iterable[ConfinedPath]) -> list[ConfinedPath]:
        """Remove the folders that are empty, and return the empty ones that can't be removed."""
        deepest = sorted({*folders}, key=lambda place: len(place.parts), reverse=True)
        return [place for place in deepest if not self._unmade(place)]

    def _unmade(self, place: ConfinedPath) -> bool:
        """Remove a folder; returns whether it is gone now, or in use by somebody."""
        try:
            with self._folder(place) as above:
                os.rmdir(place.parts[-1], dir_fd=above)
        except OSError as error:
            return error.errno in _NOT_OURS
        return True

    def prepare(self, writes: Sequence[Write]) -> None:
        """Compare each file with what it must be, and write its new content beside it.

        Raises:
            ChangedMeanwhile: a file is not as expected.
            OSError: a file can't be written; `clear` removes what was prepared.
        """
        for write in writes:
            with self._folder_of(write) as folder:
                _prepare(write, folder)
        # Write all of them before waiting for the first to reach the disk.
        self._flush([each for each in writes if each.becomes is not None], lambda each, at: _sync(each.part, at))

    def replace(self, writes: Sequence[Write]) -> None:
        """Rename the prepared files into their places, one by one.

        Raises:
            ChangedMeanwhile, OSError: a file can't be replaced; the ones replaced so far are marked as begun.
        """
        for write in writes:
            with self._folder_of(write) as folder:
                _replace(write, folder)
        self._sync_names(writes)

    def clear(self, place: ConfinedPath, part: str) -> None:
        """Remove a file that was prepared but not renamed.

        Raises:
            OSError: it exists and can't be removed.
        """
        with suppress(FileNotFoundError), self._folder(place) as folder:
            os.unlink(part, dir_fd=folder)

    def _sync_names(self, steps: Sequence[FileStep]) -> None:
        """Sync to disk what was made, replaced and removed in each folder."""
        folders = {step.place.path.parent: step for step in steps}
        self._flush([*folders.values()], lambda _each, folder: os.fsync(folder))

    def _flush(self, steps: Sequence[_Step], one: Callable[[_Step, int], None]) -> None:
        """Sync each step to disk; for many steps, sync whole file systems instead, which is far faster."""
        flushed: set[int] = set()
        for step in steps:
            with self._folder_of(step) as folder:
                if len(steps) <= _MANY:
                    one(step, folder)
                elif (device := os.fstat(folder).st_dev) not in flushed:
                    flushed.add(device)
                    _sync_file_system(folder)

    @contextmanager
    def _folder_of(self, step: FileStep) -> Iterator[int]:
        """Open the folder of a step; an exception in the body marks the step as failed."""
        step.failed = True
        with self._folder(step.place) as folder:
            yield folder
        step.failed = False

    @contextmanager
    def _folder(self, place: ConfinedPath) -> Iterator[int]:
        folder = self._confined.descend(place)
        try:
            yield folder
        finally:
            os.close(folder)


def _make(step: FileStep, above: int) -> None:
    name = step.place.parts[-1]
    step.begun = True
    try:
        os.mkdir(name, dir_fd=above)  # with the mode that the umask allows
    except FileExistsError:
        step.begun = False
        os.close(open_subfolder(name, above))  # raises unless it is a folder


def _prepare(write: Write, folder: int) -> None:
    name = write.place.parts[-1]
    _, found = _compared(name, folder, write.was)
    write.seen = _stamp(found)
    if found is not None:
        _require_writable(name, folder, found)
    if write.becomes is not None:
        _write(os.open(write.part, _NEW, 0o600, dir_fd=folder), write, found)


def _replace(write: Write, folder: int) -> None:
    name = write.place.parts[-1]
    if _stamp(_status(name, folder)) != write.seen:
        raise ChangedMeanwhile
    write.begun = True
    if write.becomes is None:
        os.unlink(name, dir_fd=folder)
    else:
        os.rename(write.part, name, src_dir_fd=folder, dst_dir_fd=folder)


def _compared(name: str, folder: int, expected: KeptContent | None) -> tuple[bytes | None, os.stat_result | None]:
    """The content and status of a file that is as expected; both None if no file is expected."""
    try:
        fd = open_file(name, folder)
    except FileNotFoundError:
        if expected is None:
            return None, None
        raise ChangedMeanwhile from None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        # The size first: the file may have outgrown memory.
        if expected is None or found.st_size != expected.size:
            raise ChangedMeanwhile
        content = file.read(expected.size)
    if digest(content) != expected.sha256:
        raise ChangedMeanwhile
    return content, found


def _require_writable(name: str, folder: int, found: os.stat_result) -> None:
    """Refuse to replace a read-only file, though its folder would allow it."""
    allowed = os.access(name, os.W_OK, dir_fd=folder, effective_ids=True)
    if not (allowed and found.st_mode & _WRITABLE):
        raise PermissionError(errno.EACCES, "it is read-only", name)


def _write(fd: int, write: Write, replaced: os.stat_result | None) -> None:
    """Write a new file whole, with the mode and owner of the one that it replaces; takes over `fd`."""
    with os.fdopen(fd, "wb") as file:
        file.write(write.load())
        if replaced is not None:
            _own_like(fd, replaced)
            os.fchmod(fd, replaced.st_mode & 0o777)
        else:
            os.fchmod(fd, (0o666 & ~_umask()) if write.mode is None else write.mode)


def _own_like(fd: int, replaced: os.stat_result) -> None:
    """Give the new file the owner and group of the old one, as far as this process may."""
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) == (replaced.st_uid, replaced.st_gid):
        return
    try:
        os.fchown(fd, replaced.st_uid, replaced.st_gid)
    except PermissionError:
        with suppress(PermissionError):
            os.fchown(fd, -1, replaced.st_gid)


def _sync(name: str, folder: int) -> None:
    fd = open_file(name, folder)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_file_system(folder: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(folder):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _umask() -> int:
    # Reading it by setting it would race with other threads.
    with open("/proc/self/status", "rb") as status:  # noqa: PTH123
        found = re.search(rb"^Umask:\s*([0-7]+)", status.read(), re.MULTILINE)
    return int(found[1], 8) if found else 0o022


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _stamp(found: os.stat_result | None) -> tuple[int, int, int] | None:
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)
