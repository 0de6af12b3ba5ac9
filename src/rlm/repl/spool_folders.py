"""Ways by which guests get contexts: as a file in a folder on disk, made, filled, and swept after a kill; or in blocks.

Each folder belongs to one user alone and is locked as long as its host lives. Who else may read what is in it is
arranged by the sandboxes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from rlm.core.contexts.context import Context, Part
    from rlm.core.types import Json

_NEW_S = 60.0
"""Seconds for which a new folder is left alone: its host may not have locked it yet."""
_READABLE = 0o444
_BLOCK_BYTES = 1 << 20


class SpoolFolder:
    """A new folder whose name begins with `prefix`, in the temporary folder."""

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self.path.rmdir()
            raise
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it; idempotent."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def sweep(prefix: str) -> None:
    """Remove the folders of this user's hosts that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # in use, another's, or gone already
            _remove_if_free(folder)


def write(context: Context, path: Path) -> Path:
    """Copy the parts of a context into a new file, one after another, in the order in which `note` lists them. Raises:
    OSError: there is no room; nothing is left of it then.
    """
    source = -1 if context.fd is None else context.fd  # and then it has no parts
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for part in context.parts:
            _copy_range(source, target, part.start, part.end)
        os.fchmod(target, _READABLE)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(target)
    return path


def note(context: Context) -> dict[str, Json]:
    """The `context` field of `init`, for a context whose parts lie one after another in one file."""
    if context.kind == "none":
        return {"kind": "none"}
    parts, start = [], 0
    for part in context.parts:
        parts.append([part.name, start, start + part.size_bytes])
        start += part.size_bytes
    return {"kind": context.kind, "parts": parts, "held": False}


async def blocks(context: Context) -> AsyncIterator[bytes]:
    """The bytes of all parts, one after another, for a guest that is sent them."""
    if context.fd is None:
        return
    for start, end in _ranges(context.parts):
        for at in range(start, end, _BLOCK_BYTES):
            yield await asyncio.to_thread(os.pread, context.fd, min(_BLOCK_BYTES, end - at), at)


def _ranges(parts: Iterable[Part]) -> Iterator[tuple[int, int]]:
    """Where the bytes of these parts are: parts that follow each other are one range."""
    start = end = 0
    for part in parts:
        if part.start != end:
            yield start, end
            start = part.start
        end = part.end
    yield start, end


def size_bytes(context: Context) -> int:
    """The size of all parts together."""
    return sum(part.size_bytes for part in context.parts)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    """Within the kernel; a file system that can shares the blocks."""
    while start < end:
        copied = os.sendfile(target, source, start, end - start)
        if not copied:
            raise OSError(errno.EIO, "the file of the context has become shorter")
        start += copied


def _remove_if_free(folder: Path) -> None:
    status = folder.lstat()
    if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _NEW_S:
        return
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
