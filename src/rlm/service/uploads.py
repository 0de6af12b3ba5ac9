"""Data that clients upload ahead of runs that are about it: kept by its SHA-256, each token's apart, for a while."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rlm.service.messages import UploadNote
from rlm.service.refusals import RequestRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import BinaryIO


_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART_S = 3_600.0
"""A part of an upload that nobody wrote to for so long is nobody's any more."""


class Uploads:
    """The uploads of one token, in a folder of their own."""

    def __init__(self, folder: Path, *, quota_bytes: int, ttl_s: float) -> None:
        self._folder = folder
        self._quota_bytes = quota_bytes
        self._ttl_s = ttl_s

    async def add(self, pieces: AsyncIterator[bytes]) -> UploadNote:
        """Keep what comes in pieces, none of which is held longer than it takes to write it.

        Raises:
            RequestRefused: there is no room for it.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(self.sweep)
        descriptor, part = tempfile.mkstemp(dir=self._folder, prefix=".part.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                digest = hashlib.sha256()
                async for piece in pieces:
                    await asyncio.to_thread(self._take, file, digest, piece)
            target = self._folder / digest.hexdigest()
            os.replace(part, target)  # noqa: PTH105 - mkstemp gives a text
        except OSError as error:
            raise RequestRefused(507, f"the upload can't be kept: {error.strerror}") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)  # noqa: PTH108 - as above
        return self._note(target)

    def all(self) -> list[UploadNote]:
        """What is kept."""
        if not self._folder.is_dir():
            return []
        return [self._note(path) for path in sorted(self._folder.iterdir()) if _DIGEST.fullmatch(path.name)]

    def path(self, digest: str) -> Path:
        """The file of an upload, which is kept for its whole time again.

        Raises:
            RequestRefused: there is none.
        """
        path = self._folder / digest
        if not _DIGEST.fullmatch(digest) or not path.is_file():
            raise RequestRefused(404, f"there is no upload {digest}: it was never made, or its time is over")
        os.utime(path)
        return path

    def delete(self, digest: str) -> None:
        """Delete an upload.

        Raises:
            RequestRefused: there is none.
        """
        self.path(digest).unlink()

    def sweep(self) -> None:
        """Delete what is over its time, and parts of uploads that were cut off."""
        now = time.time()
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            most_s = self._ttl_s if _DIGEST.fullmatch(path.name) else _PART_S
            with suppress(FileNotFoundError):
                if now - path.stat().st_mtime > most_s:
                    path.unlink()

    def _take(self, file: BinaryIO, digest: hashlib._Hash, piece: bytes) -> None:
        """Add a piece to an upload.

        Raises:
            RequestRefused: with that, and what else is being uploaded, there is more than there may be.
        """
        file.write(piece)
        file.flush()
        digest.update(piece)
        if sum(path.stat().st_size for path in self._folder.iterdir()) > self._quota_bytes:
            raise RequestRefused(413, f"a token may have {self._quota_bytes:,} bytes uploaded: delete some first")

    def _note(self, path: Path) -> UploadNote:
        about = path.stat()
        return UploadNote(id=path.name, size_bytes=about.st_size, expires_at=about.st_mtime + self._ttl_s)
