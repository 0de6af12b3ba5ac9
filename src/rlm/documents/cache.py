"""What documents were read as, kept in the user's cache folder for a month, so that the same document is read once.

A file there is for its owner alone, and is found by the digest of the document's content and by what read it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rlm.core.config.files import user_folder
from rlm.files.encodings import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEPT_S = 30 * 86_400.0
_MOST_BYTES = 1 << 30
"""The most that is kept of all documents together; the oldest go first."""
_END = "end"
_SUFFIX = ".pieces"


def folder_of(environ: Mapping[str, str]) -> Path | None:
    """The folder of the cache, made if need be; None where there is none that this user alone can write to."""
    base = user_folder(environ, "XDG_CACHE_HOME", ".cache")
    if base is None:
        return None
    folder = base / "documents"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError:
        return None
    return folder if about.st_uid == os.geteuid() and not about.st_mode & 0o077 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedPieces:
    """The place of one document in the cache."""

    path: Path

    @classmethod
    def of(cls, folder: Path, fd: int, reader: str) -> CachedPieces:
        """The place of the document in an open file, as `reader`, a name with a version, reads it."""
        digest = hashlib.sha256(f"{reader}\n".encode())
        for block in blocks(fd, 0, os.fstat(fd).st_size):
            digest.update(block)
        return cls(path=folder / f"{digest.hexdigest()}{_SUFFIX}")

    def pieces(self) -> list[list[str]] | None:
        """What the document was read as; None where that isn't kept."""
        try:
            lines = self.path.read_bytes().splitlines()
            pieces = [msgspec.json.decode(line, type=list[str]) for line in lines]
        except (OSError, msgspec.DecodeError):
            return None
        if not pieces or pieces[-1] != [_END, ""]:
            return None
        with suppress(OSError):
            os.utime(self.path)
        return pieces[:-1]

    def keeping(self, pieces: Iterator[list[str]]) -> Iterator[list[str]]:
        """The same pieces, kept once they are whole; a cache that can't be written to holds nobody up."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix="part-")
        except OSError:
            yield from pieces
            return
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    with suppress(OSError):
                        file.write(msgspec.json.encode(piece) + b"\n")
                    yield piece
                with suppress(OSError):  # a full disk: what was read is whole all the same
                    file.write(msgspec.json.encode([_END, ""]) + b"\n")
                    file.flush()
                    path.rename(self.path)
                    _sweep(path.parent)
        finally:
            path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what is old, and the oldest of what is too much."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime, about.st_size, path))
    room, oldest = _MOST_BYTES, time.time() - _KEPT_S
    for changed, size, path in sorted(found, reverse=True):
        room -= size
        if changed < oldest or room < 0:
            with suppress(OSError):
                path.unlink()
