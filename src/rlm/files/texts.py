"""Reads one open file as text: finds its encoding, decodes it into a spool, and notes what the user should know.

Which files are read, and what an error costs, is the caller's business.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.contexts.context import printable
from rlm.core.exceptions import ConfigError
from rlm.files.encodings import (
    HEAD_BYTES,
    byte_order_mark,
    checked_encoding,
    decoded,
    first_invalid,
    guess_encoding,
    sample_around,
    why_binary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rlm.core.contexts.spool import Spool

_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files and streams are read."""

    encoding: str | None = None
    """None: a byte order mark decides, then UTF-8 if it is valid, then a guess."""
    binary: bool = False
    """Take binary data too, one character per byte: `context.encode("latin-1")` gives the bytes back."""
    everything: bool = False
    """Take hidden files, and files that `.gitignore` excludes, from folders and `**` patterns."""
    include: tuple[str, ...] = ()
    """Take only files that one of these patterns fits, such as `*.log` or `2024/**`; empty: all."""
    exclude: tuple[str, ...] = ()
    """Leave out what one of these patterns fits, each read as a line of a `.gitignore`."""

    pages: bool = False
    """Take each document as `{"pages": [...]}`, the texts of its pages, sheets or slides."""

    @property
    def is_choosy(self) -> bool:
        """Whether some files are wanted and others aren't."""
        return bool(self.include or self.exclude)


class Notes:
    """What the user should know about the files that were read: kinds of note, each with the names of its files."""

    def __init__(self) -> None:
        self._names: defaultdict[str, list[str]] = defaultdict(list)
        self._undecodable: dict[str, int] = {}

    def add(self, what: str, name: str) -> None:
        """Note `what` of the file called `name`."""
        self._names[what].append(name)

    def add_undecodable(self, places: int, name: str) -> None:
        """Note how many places of a file could not be decoded."""
        if places:
            self._undecodable[name] = places

    def about(self, name: str) -> str:
        """What was noted of the file called `name`."""
        return "; ".join(what for what, names in self._names.items() if name in names)

    def warnings(self) -> tuple[str, ...]:
        """One line for each kind of note."""
        texts = [f"{what}: {some_of(names)}" for what, names in self._names.items()]
        if count := sum(self._undecodable.values()):
            what = (
                "1 place could not be decoded and holds"
                if count == 1
                else f"{count:,} places could not be decoded and hold"
            )
            texts.append(f"{what} U+FFFD: {some_of(list(self._undecodable))}")
        return tuple(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charset:
    """The encoding of a file, and where its text begins."""

    encoding: str
    start: int
    """The byte at which the text begins, after a byte order mark."""
    exact: bool = False
    """Whether the whole file is valid UTF-8."""


class BinaryFileError(ConfigError):
    """A file is binary, or packed without any text in it, and binary data was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """An open file that is being read into a context."""

    fd: int
    name: str
    before: os.stat_result

    @classmethod
    def of(cls, fd: int, name: str) -> TextFile:
        """The file behind `fd`, called `name` in messages."""
        return cls(fd=fd, name=name, before=os.fstat(fd))

    @property
    def end(self) -> int:
        return self.before.st_size

    def charset(self, reading: Reading, notes: Notes, seen: Callable[[bytes, int], None]) -> Charset:
        """Find out how to read the file; `seen` gets each block and the number of its characters, while it is UTF-8.

        Raises:
            BinaryFileError: the file is binary, and binary data was not asked for.
        """
        head = os.pread(self.fd, HEAD_BYTES, 0)
        if head and not self.end:
            notes.add("taken as empty, as its size is 0, like that of a file in /proc (pipe it in instead)", self.name)
        mark, mark_bytes = byte_order_mark(head)
        if reading.encoding is not None:
            given = checked_encoding(reading.encoding)
            return Charset(encoding=given, start=mark_bytes if mark == given else 0)
        if reason := why_binary(head):
            if not reading.binary:
                raise BinaryFileError(
                    f"{printable(self.name)} is {reason}.\n"
                    "To read its bytes as text, one character for each, give latin-1 as its encoding, "
                    'or path.read_bytes().decode("latin-1") in Python.'
                )
            notes.add("binary, one character per byte", self.name)
            return Charset(encoding="latin-1", start=0)
        if mark not in ("", "utf-8"):
            if not mark_bytes:
                notes.add(f"read as {mark}, which is a guess", self.name)
            return Charset(encoding=mark, start=mark_bytes)
        invalid = first_invalid(self.fd, mark_bytes, self.end, seen)
        if invalid is None:
            return Charset(encoding="utf-8", start=mark_bytes, exact=True)
        guess = guess_encoding(sample_around(self.fd, invalid))
        if guess != "utf-8":
            notes.add(f"read as {guess}, which is a guess", self.name)
        return Charset(encoding=guess, start=mark_bytes)

    def copy(self, charset: Charset, spool: Spool, notes: Notes) -> None:
        """Append the text to `spool` as UTF-8."""
        undecodable = 0
        for text in decoded(self.fd, charset.start, self.end, charset.encoding):
            spool.write_text(text)
            undecodable += 0 if charset.exact else text.count("\ufffd")
        notes.add_undecodable(undecodable, self.name)
        self.check_unchanged(notes)

    def check_unchanged(self, notes: Notes) -> None:
        """Add a note if the file was written to since it was opened."""
        after = os.fstat(self.fd)
        if (after.st_size, after.st_mtime_ns) != (self.before.st_size, self.before.st_mtime_ns):
            notes.add("changed while it was read", self.name)


def some_of(names: Sequence[str]) -> str:
    """The first three names, and how many more there are, for a message."""
    listed = ", ".join(printable(name) for name in names[:_NAMES_SHOWN])
    return listed if len(names) <= _NAMES_SHOWN else f"{listed} and {len(names) - _NAMES_SHOWN:,} more"
