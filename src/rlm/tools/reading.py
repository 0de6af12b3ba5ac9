"""Reads files for tools: a range of lines, the files below a folder, the lines that match a pattern.

Every result is bounded and says what it left out. `find_files` and `find_lines` run patterns that a model or guest code
wrote, so they are called in a worker only.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.contexts.context import printable, readable_size
from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined, ConfinedPath, shown
from rlm.files.encodings import HEAD_BYTES, byte_order_mark, ends_by_return, guess_encoding, why_binary
from rlm.files.walk import Walk, matches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rlm.files.walk import WalkedFile

MAX_LINES = 2_000
MAX_CHARS = 100_000
MAX_FOUND = 1_000
_LINE_CHARS = 300
_PIECE_CHARS = 1 << 20
_COUNTED = 100_000


def read_lines(confined: Confined, path: str, start_line: int, end_line: int | None) -> str:
    """Lines `start_line` to `end_line` of a text file, from 1 and inclusive, at most 2,000 and 100,000 characters.

    Raises:
        ToolError: the path is refused, the file is binary, or it has no such lines.
    """
    if start_line < 1 or (end_line is not None and end_line < start_line):
        raise ToolError("lines count from 1, and end_line must not be before start_line.")
    last = start_line + MAX_LINES - 1 if end_line is None else min(end_line, start_line + MAX_LINES - 1)
    lines: list[str] = []
    room, number = MAX_CHARS, 0
    with _text(confined.open_read(path), path) as file:
        for number, piece in _pieces(file):
            if number > last:
                return "".join(lines) + ("" if last == end_line else _more(start_line, number))
            if number >= start_line:
                if len(piece) > room:
                    return "".join(lines) + (_more(start_line, number) if lines else _too_long(piece))
                lines.append(piece)
                room -= len(piece)
    if number < start_line and number + start_line > 1:
        raise ToolError(f"{shown(path)} has only {number:,} lines.")
    return "".join(lines)


def _more(start_line: int, next_line: int) -> str:
    return f"[lines {start_line} to {next_line - 1} are shown; there is more from start_line={next_line}]"


def _too_long(piece: str) -> str:
    return f"{piece[:MAX_CHARS]}\n[cut here: this line is longer than can be shown; search_files finds text in it]"


def find_files(roots: list[str], path: str, pattern: str, limit: int, hidden: bool) -> str:
    """The files below `path` that match a glob, with their sizes, one a line.

    Raises:
        ToolError: the path is refused.
    """
    search = _Search(Confined(roots), pattern, hidden=hidden)
    lines: list[str] = []
    count = 0
    for name, fd in search.files(path):
        count += 1
        if count <= min(limit, MAX_FOUND):
            lines.append(f"{name} ({readable_size(os.fstat(fd).st_size)})")
        elif count > _COUNTED:
            break
    if count > len(lines):
        total = f"{count:,}" if count <= _COUNTED else f"more than {_COUNTED:,}"
        lines.append(f"[{len(lines):,} of {total} files are shown; narrow the path or the pattern to see others]")
    return "\n".join([*lines, *search.left_out()]) or f"[no file in {shown(path)} matches {shown(pattern)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineQuery:
    """What `find_lines` looks for, and how much it may find."""

    pattern: str
    path: str
    glob: str
    ignore_case: bool
    max_results: int
    hidden: bool
    seconds: float
    """Seconds after which the search returns what it has found."""


def find_lines(roots: list[str], query: dict[str, object]) -> str:
    """The lines that match a regular expression, as `path:line:text`; `query` has the fields of `LineQuery`.

    Raises:
        ToolError: the path is refused, or the pattern isn't a regular expression.
    """
    asked = LineQuery(**query)  # type: ignore[arg-type]
    try:
        pattern = re.compile(asked.pattern, re.IGNORECASE if asked.ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise ToolError(f"the pattern is not a Python regular expression: {error}.") from error
    search = _Search(Confined(roots), asked.glob, hidden=asked.hidden)
    hits = _Hits(most=min(asked.max_results, MAX_FOUND), deadline=time.monotonic() + asked.seconds)
    for name, fd in search.files(asked.path):
        if hits.full:
            break
        hits.collect(name, fd, pattern)
    return "\n".join([*hits.lines, *hits.marks(), *search.left_out()]) or f"[no line in {hits.files:,} files matches]"


@dataclass(kw_only=True)
class _Hits:
    most: int
    deadline: float
    lines: list[str] = field(default_factory=list)
    room: int = MAX_CHARS
    files: int = 0
    binary: int = 0

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline

    @property
    def full(self) -> bool:
        return len(self.lines) >= self.most or self.room <= 0 or self.late

    def collect(self, name: str, fd: int, pattern: re.Pattern[str]) -> None:
        try:
            with _text(os.dup(fd), name) as file:
                self.files += 1
                for number, piece in _pieces(file):
                    line = piece.removesuffix("\n").removesuffix("\r")
                    if found := pattern.search(line):
                        self._add(f"{name}:{number}:{_window(line, found.start())}")
                    if (found or not number % 1024) and self.full:
                        return
        except ToolError:
            self.binary += 1

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self.room -= len(line)

    def marks(self) -> list[str]:
        marks = [f"[{self.binary:,} binary files were not searched]"] if self.binary else []
        if self.late:
            marks.append(f"[stopped for time after {self.files:,} files; narrow the path or the glob]")
        elif self.full:
            marks.append(f"[stopped at {len(self.lines):,} lines; there may be more: narrow the search]")
        return marks


class _Search:
    """The files that one tool call searches."""

    def __init__(self, confined: Confined, pattern: str, *, hidden: bool) -> None:
        self._confined = confined
        self._walk = Walk(keep=lambda path: matches(path, pattern), everything=hidden)
        self._refused = 0

    def files(self, path: str) -> Iterator[tuple[str, int]]:
        """The name, as other tools take it, and the open descriptor of each file; valid until the next file."""
        for place in self._places(path):
            if place.path.is_dir():
                yield from self._below(place)
            else:
                yield from self._opened(place.path)

    def left_out(self) -> list[str]:
        kinds = {"hidden or git-ignored entries": self._walk.ignored, "records of runs": self._walk.records}
        marks = [f"[{count:,} {kind} are left out]" for kind, count in kinds.items() if count]
        unread = self._refused + len(self._walk.unreadable)
        return [*marks, f"[{unread:,} entries cannot be read]"] if unread else marks

    def _places(self, path: str) -> list[ConfinedPath]:
        if path in ("", "."):
            return [self._confined.locate(str(root)) for root in self._confined.roots]
        return [self._confined.locate(path)]

    def _below(self, place: ConfinedPath) -> Iterator[tuple[str, int]]:
        folder = self._confined.open_folder(str(place.path))
        try:
            for found in self._walk.files(folder):
                yield from self._opened(place.path / found.path, found)
        finally:
            os.close(folder)

    def _opened(self, path: Path, found: WalkedFile | None = None) -> Iterator[tuple[str, int]]:
        try:
            fd = self._confined.open_read(str(path)) if found is None or found.is_link else found.open()
        except (OSError, ToolError):
            self._refused += 1
            return
        try:
            yield printable(self._confined.name(path)), fd
        finally:
            os.close(fd)


@contextmanager
def _text(fd: int, path: str) -> Iterator[io.TextIOWrapper]:
    """An open file as text, its newlines as they are, but `\\n` for those of a file without one; takes over `fd`."""
    with os.fdopen(fd, "rb") as file:
        head = os.pread(fd, HEAD_BYTES, 0)
        if reason := why_binary(head):
            raise ToolError(f"{shown(path)} is {reason}.")
        encoding, mark_bytes = byte_order_mark(head)
        os.lseek(fd, mark_bytes, os.SEEK_SET)
        newline = None if ends_by_return(fd, head) else "\n"
        with io.TextIOWrapper(file, encoding or _encoding_of(head), "replace", newline=newline) as text:
            yield text


def _encoding_of(head: bytes) -> str:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return guess_encoding(head)
    return "utf-8"


def _pieces(file: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers; a line of more than a million characters comes in several pieces."""
    number = 1
    while piece := file.readline(_PIECE_CHARS):
        yield number, piece
        number += piece.endswith("\n")


def _window(line: str, position: int) -> str:
    if len(line) <= _LINE_CHARS:
        return printable(line)
    start = max(0, min(position - _LINE_CHARS // 3, len(line) - _LINE_CHARS))
    before, after = "…" * (start > 0), "…" * (start + _LINE_CHARS < len(line))
    return f"{before}{printable(line[start : start + _LINE_CHARS])}{after}"
