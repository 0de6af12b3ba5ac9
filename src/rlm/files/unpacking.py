"""Files as they are packed: what is in a compressed file, an archive, or one in the other, as plain files.

What comes out is kept in temporary files without a name, one at a time, within bounds that hold for all files of one
context together. Whatever is left out for them, or because it can't be read, is noted.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rlm.core.contexts.spool import room
from rlm.files.archives import is_tar, is_zip, tar_members, zip_members
from rlm.files.encodings import HEAD_BYTES
from rlm.files.notebooks import MOST_BYTES as NOTEBOOK_BYTES
from rlm.files.notebooks import notebook_text
from rlm.files.streams import COMPRESSIONS, CannotUnpack, Damaged, ahead, unpacked
from rlm.trajectory.own_files import is_exact

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from rlm.files.archives import Member
    from rlm.files.streams import Compression
    from rlm.files.texts import Notes

TOTAL_BYTES = 8 << 30
"""The most that may come out of all files together."""
RATIO = 300
"""How many times the size of a packed file may come out of it..."""
FREE_BYTES = 64 << 20
"""... beyond this, which is never too much."""
MOST_FILES = 20_000
MOST_ENTRIES = 200_000
"""The most entries of archives that are looked at."""
MOST_SECONDS = 300.0
NESTED = 2
"""How deep packed files are unpacked: those in an archive too, and no deeper."""
AHEAD_BYTES = 1 << 20
"""The size from which a file is worth a thread that unpacks it."""
_SECRETS = "with the secrets that were masked in a record, left out"
_JUNK = "__MACOSX"
_NOTEBOOK = re.compile(r"\.ipynb(?:\.\w{1,4})?$", re.IGNORECASE)


class _TooMuch(Exception):
    """A bound is reached; says which."""


class DocumentReader(Protocol):
    """What reads documents."""

    def kind(self, fd: int) -> Any | None:
        """The kind of document that an open file is; None for any other file."""

    def text(self, fd: int, name: str, kind: Any) -> Iterator[bytes]:
        """The text of a document of a kind, in blocks.

        Raises:
            CannotUnpack: there is no text in it that can be read.
            Damaged: nor any more; what came before was given out.
        """


class Unpacker:
    """Unpacks the files of one context."""

    def __init__(
        self, notes: Notes, *, documents: DocumentReader | None = None, everything: bool = False, notebooks: bool = True
    ) -> None:
        """What `documents` reads becomes text. With `everything`, hidden files in archives are taken too; without
        `notebooks`, these are taken as JSON."""
        self.notes = notes
        self._documents = documents
        self._everything = everything
        self._notebooks = notebooks
        self._left_bytes = TOTAL_BYTES
        self._allowed_bytes = 0
        self._entries = self._files = 0
        self._until = time.monotonic() + MOST_SECONDS
        self.ignored = 0
        """How many hidden files in archives were left out."""

    def files(self, fd: int, name: str) -> Generator[tuple[str, int], None, None]:
        """The plain files in an open file, each with its name and a descriptor that works until the next is asked for:
        those of an archive as `name/path`, what was compressed and any other file under `name`. `fd` stays open."""
        about = os.fstat(fd)
        self._allowed_bytes = about.st_size * RATIO + FREE_BYTES
        try:
            yield from self._files_in(fd, name, NESTED)
        except _TooMuch as bound:
            self.notes.add(f"{bound}, the rest left out", name)
        if changed(about, os.fstat(fd)) and self.takes_apart(fd, name):
            self.notes.add("changed while it was read", name)

    def takes_apart(self, fd: int, name: str) -> bool:
        """Whether an open file is no plain text: packed, a document or a notebook."""
        return self._is_document(fd) or is_packed(fd, name) or is_notebook(name)

    def _is_document(self, fd: int) -> bool:
        return self._documents is not None and self._documents.kind(fd) is not None

    def _files_in(self, fd: int, name: str, depth: int) -> Iterator[tuple[str, int]]:
        if self._documents is not None and (kind := self._documents.kind(fd)) is not None:
            with self._kept(self._documents.text(fd, name, kind), name) as kept:
                if kept is not None:
                    yield name, kept
            return
        compression = compression_of(fd)
        if compression is None and not is_archive(fd, name):
            yield from self._plain(fd, name)
        elif not depth:
            self.notes.add("packed too deep, left out", name)
        elif compression is not None and is_exact(_plain_name(name)):
            self.notes.add(_SECRETS, name)
        elif compression is None:
            yield from self._members(fd, name, depth)
        else:
            size_bytes = os.fstat(fd).st_size
            blocks = unpacked(compression, fd, size_bytes)
            with self._kept(ahead(blocks) if size_bytes > AHEAD_BYTES else blocks, name) as inner:
                if inner is None:
                    return
                # One package, such as .tar.gz, is nested once.
                if is_archive(inner, _plain_name(name)) and not self._is_document(inner):
                    yield from self._members(inner, name, depth)
                else:
                    yield from self._files_in(inner, name, depth - 1)

    def _members(self, fd: int, name: str, depth: int) -> Iterator[tuple[str, int]]:
        """The files in an archive."""
        try:
            for member in zip_members(fd) if is_zip(_head(fd)) else tar_members(fd):
                self._check_entry()
                if self._is_wanted(member, name):
                    inner = f"{name}/{_tidy(member.name)}"
                    with self._kept(member.blocks(), inner) as kept:
                        if kept is not None:
                            yield from self._files_in(kept, inner, depth - 1)
        except (Damaged, CannotUnpack) as problem:
            self.notes.add(str(problem), name)

    def _check_entry(self) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES or self._files >= MOST_FILES:
            raise _TooMuch(f"more than {MOST_FILES:,} files")

    def _is_wanted(self, member: Member, archive: str) -> bool:
        name, parts = f"{archive}/{member.name}", member.name.split("/")
        if member.problem:
            self.notes.add(member.problem, name)
        elif member.name.startswith("/") or ".." in parts:
            self.notes.add("named to lie outside of its archive, left out", name)
        elif is_exact(parts[-1]):
            self.notes.add(_SECRETS, name)
        elif not self._everything and any(_is_hidden(part) for part in parts):
            self.ignored += 1
        else:
            self._files += 1
            return True
        return False

    def _plain(self, fd: int, name: str) -> Iterator[tuple[str, int]]:
        """A file that isn't packed; of a notebook, its text."""
        text = self._notebook(fd, name) if self._notebooks and is_notebook(name) else None
        if text is None:
            yield name, fd
            return
        self.notes.add("notebooks, taken as cells and outputs without images", name)
        with self._kept([text.encode("utf-8", "surrogatepass")], name) as kept:
            if kept is not None:
                yield name, kept

    def _notebook(self, fd: int, name: str) -> str | None:
        """The text of a notebook; None, with a note, where it is taken as it is."""
        is_large = os.fstat(fd).st_size > NOTEBOOK_BYTES
        text = None if is_large else notebook_text(os.pread(fd, NOTEBOOK_BYTES, 0))
        if text is None:
            said = (
                f"a notebook of more than {NOTEBOOK_BYTES >> 20} MB" if is_large else "no notebook in spite of its name"
            )
            self.notes.add(f"{said}, taken as text", name)
        return text

    @contextmanager
    def _kept(self, blocks: Iterable[bytes], name: str) -> Iterator[int | None]:
        """Blocks as a file without a name, while the context lasts; None where there is nothing that can be read.

        Raises:
            _TooMuch: a bound is reached.
            ConfigError: there is no room for it in the temporary folder.
        """
        with room():
            file = tempfile.TemporaryFile(prefix="rlm-unpacked-", buffering=0)  # noqa: SIM115
        with file:
            try:
                for block in blocks:
                    self._count(len(block))
                    with room():
                        _write(file.fileno(), block)
            except (Damaged, CannotUnpack) as problem:
                self.notes.add(str(problem), name)
                if not file.tell():
                    yield None
                    return
            yield file.fileno()

    def _count(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        self._allowed_bytes -= size_bytes
        if self._allowed_bytes < 0:
            raise _TooMuch(f"unpacks to more than {RATIO} times its size")
        if self._left_bytes < 0:
            raise _TooMuch(f"unpacks to more than {TOTAL_BYTES >> 30} GB with what was before it")
        if time.monotonic() > self._until:
            raise _TooMuch(f"takes more than {MOST_SECONDS:g} s to unpack with what was before it")


def compression_of(fd: int) -> Compression | None:
    """How a file is compressed, by its first bytes; None if it isn't."""
    head = _head(fd)
    return next((each for each in COMPRESSIONS if each.begins(head)), None)


def is_archive(fd: int, name: str) -> bool:
    head = _head(fd)
    return is_zip(head) or is_tar(head, name)


def is_packed(fd: int, name: str) -> bool:
    """Whether a file is compressed or an archive, by its first bytes."""
    return compression_of(fd) is not None or is_archive(fd, name)


def is_notebook(name: str) -> bool:
    """Whether a file is a notebook by its name, compressed or not."""
    return _NOTEBOOK.search(name) is not None


def read_only(fd: int) -> int:
    """A descriptor to read from of a file that has no name, which the caller closes."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def changed(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file was written to between two looks at it."""
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def _head(fd: int) -> bytes:
    return os.pread(fd, HEAD_BYTES, 0)


def _plain_name(name: str) -> str:
    """The name that a compressed file had before, without the folders."""
    return name.rpartition("/")[2].rpartition(".")[0]


def _tidy(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_hidden(part: str) -> bool:
    return part == _JUNK or (part.startswith(".") and part not in (".", ".."))


def _write(fd: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(fd, left) :]
