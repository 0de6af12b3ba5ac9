"""The files in zip and tar archives, each as a stream of blocks: nothing is written where a name in one says, no link
is followed, and no header is read that would take much memory."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from typing import IO, TYPE_CHECKING

from rlm.files.encodings import BLOCK_BYTES
from rlm.files.streams import CannotUnpack, Damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_MAGIC, _TAR_MAGIC_AT, _TAR_BLOCK = b"ustar", 257, 512
_END, _END64 = b"PK\x05\x06", b"PK\x06\x06"
_END_BYTES = 66_000
"""How near to its end the directory of a zip archive is named."""
_DIRECTORY_BYTES = 8 << 20
"""The most that the directory of a zip archive may have: each entry of it takes ten times its size in memory."""
_OFFICE = frozenset({"[Content_Types].xml", "mimetype"})
"""What a zip archive holds that is a document of an office program or a book."""
_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of an archive."""

    name: str
    problem: str = ""
    """Why it is no file that can be read; empty for one that can."""
    blocks: Callable[[], Iterator[bytes]] = lambda: iter(())
    """Its content; ends with `Damaged` where that breaks off. Works until the next member is asked for."""
    is_program: bool = False
    """Its owner may execute it; known in tar archives alone."""


def is_zip(head: bytes) -> bool:
    return head.startswith(_ZIP)


def is_tar(head: bytes, name: str) -> bool:
    """Whether a file that begins so is a tar archive; one of the oldest form is known by its name too."""
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] != _TAR_MAGIC and not name.lower().endswith(".tar"):
        return False
    try:
        tarfile.TarInfo.frombuf(head[:_TAR_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def is_document(fd: int, head: bytes) -> bool:
    """Whether an open file, which begins with `head`, is a document of an office program or a book: a zip archive with
    parts of certain names."""
    if not is_zip(head):
        return False
    with os.fdopen(os.dup(fd), "rb") as file:
        if _directory_bytes(file) > _DIRECTORY_BYTES:
            return False
        try:
            with zipfile.ZipFile(file) as archive:
                return not _OFFICE.isdisjoint(archive.NameToInfo)
        except (*_ERRORS, OSError, NotImplementedError):
            return False


def zip_members(fd: int) -> Iterator[Member]:
    """The entries of a zip archive. Raises:
    Damaged: it can't be read, or not any further.
    CannotUnpack: it is a document, or its directory is too large.
    """
    with os.fdopen(os.dup(fd), "rb") as file:
        if _directory_bytes(file) > _DIRECTORY_BYTES:
            raise CannotUnpack("an archive with too many files")
        try:
            archive = zipfile.ZipFile(file)
        except (*_ERRORS, OSError, NotImplementedError) as error:
            raise Damaged("damaged, or no zip archive") from error
        with archive:
            entries = archive.infolist()
            if any(entry.filename in _OFFICE for entry in entries[:3]):
                raise CannotUnpack("a document of an office program, or a book: save it as text first")
            for entry in entries:
                if not entry.is_dir():
                    yield _zip_member(archive, entry)


def _directory_bytes(file: IO[bytes]) -> int:
    """The size that an archive says its directory has; 0 where it says nothing."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - _END_BYTES))
    tail = file.read()
    at, at64 = tail.rfind(_END), tail.rfind(_END64)
    said = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    return max(said, int.from_bytes(tail[at64 + 40 : at64 + 48], "little")) if at64 >= 0 else said


def _zip_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    if entry.flag_bits & 1:
        return Member(name=entry.filename, problem="encrypted, left out")
    if (entry.external_attr >> 16) & 0o170000 == 0o120000:
        return Member(name=entry.filename, problem="links in an archive, left out")

    def blocks() -> Iterator[bytes]:
        try:
            with archive.open(entry) as content:
                yield from _read(content)
        except (RuntimeError, NotImplementedError) as error:
            raise Damaged("packed in a way that can't be unpacked here, left out") from error

    return Member(name=entry.filename, blocks=blocks)


def tar_members(fd: int) -> Iterator[Member]:
    """The entries of a tar archive. Raises:
    Damaged: it can't be read any further.
    """
    with os.fdopen(os.dup(fd), "rb") as file:
        try:
            file.seek(0)
            with tarfile.open(fileobj=_Bounded(file), mode="r:") as archive:
                while (entry := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined] # else it keeps them all
                    if not entry.isdir():
                        yield _tar_member(archive, entry)
        except (*_ERRORS, OSError) as error:
            raise Damaged("damaged or cut off, read up to there") from error


class _Bounded(io.BufferedIOBase):
    """A file from which nobody reads much at once, as `tarfile` does with headers of any size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= BLOCK_BYTES:
            raise tarfile.ReadError("a header is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _tar_member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    if entry.issym() or entry.islnk():
        return Member(name=entry.name, problem="links in an archive, left out")
    content = archive.extractfile(entry) if entry.isreg() else None
    if content is None:
        return Member(name=entry.name, problem="devices and the like in an archive, left out")
    return Member(name=entry.name, blocks=lambda: _read(content), is_program=bool(entry.mode & 0o100))


def _read(content: IO[bytes]) -> Iterator[bytes]:
    try:
        while block := content.read(BLOCK_BYTES):
            yield block
    except (*_ERRORS, OSError) as error:
        raise Damaged("damaged, read up to there") from error
