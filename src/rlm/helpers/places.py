"""Replaces files by descriptor: nothing on the way may be a symlink, and what is replaced is what was compared.

Used by the journal alone, which makes several of these all or none.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.paths import open_file
from rlm.helpers.writing import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.paths import Confined, Place

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITABLE = 0o222


class ChangedMeanwhile(OSError):
    """A file is not what it was when the edit was made."""

    def __init__(self) -> None:
        super().__init__(0, "it was changed meanwhile")


@dataclass(slots=True, kw_only=True)
class Write:
    """One file on its way."""

    place: Place
    name: str
    expected: str | None
    """SHA-256 of what must be there; None for no file."""
    content: bytes | None
    """None: remove it."""
    part: str | None = None
    """The name of what is written beside it."""
    seen: tuple[int, int, int] | None = None
    """What the file that was compared is known by."""
    failed: bool = False


class Files:
    """Files below the roots, opened component by component."""

    def __init__(self, confined: Confined) -> None:
        self._confined = confined

    def read(self, place: Place) -> bytes | None:
        """The content of a file, None if it isn't there.

        Raises:
            OSError: it can't be read.
        """
        folder = self._confined.descend(place)
        try:
            fd = open_file(place.parts[-1], folder)
        except FileNotFoundError:
            return None
        finally:
            os.close(folder)
        with os.fdopen(fd, "rb") as file:
            return file.read()

    def prepare(self, writes: Sequence[Write]) -> None:
        """Compare each file with what is expected, and write its new content beside it.

        Raises:
            ChangedMeanwhile: one is something else.
            OSError: a file can't be written; call `discard`.
        """
        for write in writes:
            self._prepare(write)

    def replace(self, writes: Sequence[Write]) -> None:
        """Rename what was prepared into its place, file by file.

        Raises:
            ChangedMeanwhile, OSError: at the first that can't be; those before it are replaced.
        """
        for write in writes:
            self._replace(write)

    def discard(self, writes: Sequence[Write]) -> None:
        """Remove what was prepared and not replaced."""
        for write in writes:
            if write.part is not None:
                with suppress(OSError), self._folder_of(write) as folder:
                    os.unlink(write.part, dir_fd=folder)

    @contextmanager
    def _folder_of(self, write: Write) -> Iterator[int]:
        """The open folder of a file; what is raised inside is marked as that file's failure."""
        write.failed = True
        folder = self._confined.descend(write.place)
        try:
            yield folder
        finally:
            os.close(folder)
        write.failed = False

    def _prepare(self, write: Write) -> None:
        with self._folder_of(write) as folder:
            name = write.place.parts[-1]
            found = _compared(name, folder, write.expected)
            write.seen = _stamp(found)
            if found is not None and not found.st_mode & _WRITABLE:
                raise PermissionError(errno.EACCES, "it is read-only", name)
            if write.content is not None:
                write.part = f".{secrets.token_hex(8)}.rlm"
                _write(os.open(write.part, _NEW, 0o600, dir_fd=folder), write.content, found)

    def _replace(self, write: Write) -> None:
        with self._folder_of(write) as folder:
            name = write.place.parts[-1]
            if _stamp(_status(name, folder)) != write.seen:
                raise ChangedMeanwhile
            if write.part is None:
                os.unlink(name, dir_fd=folder)
            else:
                os.rename(write.part, name, src_dir_fd=folder, dst_dir_fd=folder)
                write.part = None
            os.fsync(folder)


def _compared(name: str, folder: int, expected: str | None) -> os.stat_result | None:
    """What the file is known by, if its content is what is expected."""
    try:
        fd = open_file(name, folder)
    except FileNotFoundError:
        if expected is None:
            return None
        raise ChangedMeanwhile from None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if digest(file.read()) != expected:
            raise ChangedMeanwhile
    return found


def _write(fd: int, content: bytes, replaced: os.stat_result | None) -> None:
    """Write a new file whole, with the mode of the one that it replaces; takes over `fd`."""
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        if replaced is not None and replaced.st_gid != os.fstat(fd).st_gid:
            with suppress(PermissionError):
                os.fchown(fd, -1, replaced.st_gid)
        os.fchmod(fd, (0o666 & ~_umask()) if replaced is None else replaced.st_mode & 0o777)
        os.fsync(fd)


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
