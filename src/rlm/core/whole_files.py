"""Files that are replaced whole or not at all, so that they survive a kill between two writes: settings, trust, tokens,
and what stands beside a record. Many files at once, with undo, are `rlm.helpers.changes`."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a file of this mode in its place, synced to disk before it takes the name. Any process may do so at any time.

    Raises:
        OSError: it can't be written; what was there is untouched.
    """
    fd, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with _replacing(path, fd, Path(part)) as file:
        os.fchmod(fd, mode)
        file.write(content)
        file.flush()
        os.fsync(fd)


@contextmanager
def sole_writer(path: Path) -> Iterator[BinaryIO]:
    """Write a file that no other process writes; it takes its name when the body ends, readable by its owner only.

    Until then it is `part_of(path)`, which a kill leaves behind and the next writer replaces. It is not synced.

    Raises:
        OSError: it can't be written; what was there is untouched.
    """
    part = part_of(path)
    part.unlink(missing_ok=True)
    with _replacing(path, os.open(part, _NEW, 0o600), part) as file:
        yield file


@contextmanager
def new_file(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Write a file that isn't there yet; where that fails half-way, none is left.

    Raises:
        FileExistsError: there is one, which is left as it is.
        OSError: it can't be written.
    """
    fd = os.open(path, _NEW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def part_of(path: Path) -> Path:
    """The path under which `sole_writer` writes a file."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def _replacing(path: Path, fd: int, part: Path) -> Iterator[BinaryIO]:
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
