"""A file of SQLite that another program has in use, as it was last committed: a copy with what its log has since.

What asks a database is confined and can lock nothing, as the log of a database in use (its WAL) requires.
Source: https://www.sqlite.org/fileformat2.html#walformat
"""

from __future__ import annotations

import array
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_BYTES = 1 << 30
_MOST_LOG_BYTES = 64 << 20
_HEADER, _FRAME = struct.Struct(">8I"), struct.Struct(">6I")
_LITTLE, _BIG = 0x377F0682, 0x377F0683
_HOT = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_WORD = 0xFFFFFFFF
_TRIES = 3
_BLOCK_BYTES = 1 << 20


@dataclass(slots=True)
class Snapshot:
    """The copy of one database, made again once that has changed."""

    source: Path
    copy: Path
    taken: tuple[int, ...] = ()

    def path(self) -> Path:
        """The database itself where nothing is in its log, else an up-to-date copy.

        Raises:
            ToolError: it is written to just now, or too large to be copied.
        """
        for _ in range(_TRIES):
            state = self._state()
            if not _has_log(self.source):
                return self.source
            if state == self.taken:
                return self.copy
            self._take()
            if state == self._state():
                self.taken = state
                return self.copy
        raise ToolError(f"{self.source.name} is written to just now by another program: ask again later")

    def _state(self) -> tuple[int, ...]:
        state: list[int] = []
        for path in (self.source, _log_of(self.source)):
            with suppress(FileNotFoundError):
                about = path.stat()
                state += (about.st_ino, about.st_size, about.st_mtime_ns)
        if _is_hot(self.source):
            raise ToolError(f"{self.source.name} has a transaction under way, or one that was cut off: ask again later")
        return tuple(state)

    def _take(self) -> None:
        self.taken = ()
        if self.source.stat().st_size > _MOST_BYTES or _log_of(self.source).stat().st_size > _MOST_LOG_BYTES:
            raise ToolError(
                f"{self.source.name} is in use by another program and too large to be copied: end that, or have it "
                "write its log into the file (PRAGMA wal_checkpoint)"
            )
        with self.source.open("rb") as source, self.copy.open("wb") as copy:
            while block := source.read(_BLOCK_BYTES):
                copy.write(block)
            for place, page in _committed(_log_of(self.source).read_bytes()):
                copy.seek(place)
                copy.write(page)


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _has_log(database: Path) -> bool:
    try:
        return _log_of(database).stat().st_size > _HEADER.size
    except FileNotFoundError:
        return False


def _is_hot(database: Path) -> bool:
    """Whether a database has a journal from which a transaction would be taken back."""
    try:
        with database.with_name(f"{database.name}-journal").open("rb") as journal:
            return journal.read(len(_HOT)) == _HOT
    except OSError:
        return False


def _committed(log: bytes) -> Iterator[tuple[int, bytes]]:
    """The pages that transactions in a log have written to their end, each with its place in the database."""
    if len(log) < _HEADER.size:
        return
    magic, _version, page_bytes, _number, *salts, first, second = _HEADER.unpack_from(log)
    if magic not in (_LITTLE, _BIG):
        return
    is_swapped = (magic == _BIG) != (sys.byteorder == "big")
    sums = _summed(log[: _HEADER.size - 8], (0, 0), is_swapped=is_swapped)
    if sums != (first, second):
        return
    waiting: list[tuple[int, bytes]] = []
    for at in range(_HEADER.size, len(log) - page_bytes - _FRAME.size + 1, page_bytes + _FRAME.size):
        number, size_after, *frame_salts, first, second = _FRAME.unpack_from(log, at)
        page = log[at + _FRAME.size : at + _FRAME.size + page_bytes]
        sums = _summed(log[at : at + 8] + page, sums, is_swapped=is_swapped)
        if frame_salts != salts or sums != (first, second) or not number:
            return  # what is left of an earlier log
        waiting.append(((number - 1) * page_bytes, page))
        if size_after:
            yield from waiting
            waiting = []


def _summed(content: bytes, sums: tuple[int, int], *, is_swapped: bool) -> tuple[int, int]:
    """The sums by which SQLite checks its log."""
    words = array.array("I", content)
    if is_swapped:
        words.byteswap()
    first, second = sums
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
