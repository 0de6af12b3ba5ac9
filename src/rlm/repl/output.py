"""What cells print, as the host keeps it: decoded, capped, counted, passed on in pieces, cut at the end mark.

Of more than the cap the beginning and the end are kept, with a note between them of how much is missing.
"""

from __future__ import annotations

import codecs
import secrets
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK_START = "\x1e"
_LINE_CHARS = 4_096
"""A beginning ends with its line, and an end begins with one, if that moves the edge by at most so much."""
_EARLY_CHARS = 4_000
"""How much is kept of what comes between two cells."""
_EARLIER = "[Printed before this cell began, by what an earlier one left running:]\n"
_HERE = "[Printed by this cell:]\n"
_NEWLINE = "\n"


def new_mark() -> str:
    """A mark that no output contains by chance."""
    return f"{_MARK_START}{secrets.token_hex(16)}{_MARK_START}"


class Kept:
    """The beginning and the end of a text of any length, at most `most_chars` in all.

    What is kept depends on the text alone, not on the pieces in which it comes: a cell that is run again keeps as much.
    """

    def __init__(self, most_chars: int) -> None:
        self._most_chars = most_chars
        self._head_chars = most_chars * 4 // 5
        self._line_chars = min(_LINE_CHARS, most_chars // 10)
        self._head: list[str] = []
        self._headed_chars = 0
        self._has_room = True
        """The beginning is not complete."""
        self._tail: deque[str] = deque()
        self._tail_chars = 0
        self.total_chars = 0
        """Characters taken, kept or not."""

    @property
    def text(self) -> str:
        """What is kept so far."""
        return "".join(self._head) + self.rest

    @property
    def rest(self) -> str:
        """What is kept after the beginning, with a note before it of what is missing."""
        tail = "".join(self._tail)
        room = self._most_chars - self._headed_chars
        past_chars = self.total_chars - self._headed_chars
        if past_chars <= room:
            return tail
        start = len(tail) - max(0, room - len(_note(past_chars)))
        line = tail.find("\n", start, start + self._line_chars)
        end = tail[start if line < 0 else line + 1 :]
        return _note(past_chars - len(end)) + end

    def take(self, text: str) -> str:
        """Take the next piece; returns as much of it as belongs to the beginning."""
        if not text:
            return ""
        self.total_chars += len(text)
        head = self._head_of(text) if self._has_room else ""
        if head:
            self._head.append(head)
            self._headed_chars += len(head)
        if len(head) < len(text):
            self._add_to_tail(text[len(head) :])
        return head

    def _head_of(self, text: str) -> str:
        room = self._head_chars - self._headed_chars
        line = text.find("\n", max(0, room - self._line_chars), room)
        end = room if line < 0 else line + 1
        self._has_room = len(text) < end
        return text[:end]

    def _add_to_tail(self, text: str) -> None:
        room = self._most_chars - self._headed_chars
        self._tail.append(text[-room:])
        self._tail_chars += len(self._tail[-1])
        while self._tail_chars - len(self._tail[0]) >= room:
            self._tail_chars -= len(self._tail.popleft())


class CellOutput:
    """The output of one cell at a time; what came between two cells stands, marked, at the beginning of the next."""

    def __init__(self, kept_chars: int, on_piece: Callable[[str], None]) -> None:
        self._kept_chars = kept_chars
        self._on_piece = on_piece
        self._mark = b""
        self._tail = b""
        self._early = Kept(_EARLY_CHARS)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._reset()

    def _reset(self) -> None:
        self._kept = Kept(self._kept_chars)
        self._unsent: list[str] = []
        self.is_complete = False
        """The mark has come."""

    def begin(self, mark: str) -> None:
        """A cell begins; its output ends with `mark`."""
        early = self._taken_early()
        self._reset()
        self._decoder.reset()
        self._mark = mark.encode()
        if early:
            self._take(f"{_EARLIER}{early}{'' if early.endswith(_NEWLINE) else _NEWLINE}{_HERE}")

    def _taken_early(self) -> str:
        """What came since the last cell, which is then forgotten."""
        if not self._early.total_chars:
            return ""
        early, self._early = self.early_text, Kept(_EARLY_CHARS)
        return early.replace(self._mark.decode(), "")  # its cell may have ended without it

    @property
    def text(self) -> str:
        """What was kept."""
        return self._kept.text

    @property
    def total_chars(self) -> int:
        """Characters printed, kept or not."""
        return self._kept.total_chars

    @property
    def early_text(self) -> str:
        """What came before the first cell, the complaint of a guest that cannot start, or since the last one ended."""
        return self._early.text

    @property
    def has_unsent(self) -> bool:
        """Some of what was kept was not passed on yet."""
        return bool(self._unsent)

    def feed(self, received: bytes) -> None:
        """Take the next bytes of the stream."""
        if self.is_complete or not self._mark:
            self._early.take(self._decoder.decode(received))
            return
        found = self._tail + received
        self._tail = b""
        output, mark, rest = found.partition(self._mark)
        if mark:
            self._add(output)
            self.end()
            if rest:
                self.feed(rest)
        else:
            keep = self._possible_mark(found)
            self._tail = found[len(found) - keep :]
            self._add(found[: len(found) - keep])

    def end(self) -> None:
        """No more output belongs to this cell."""
        self._add(self._tail, final=True)
        self._tail = b""
        self.is_complete = True
        self._unsent.append(self._kept.rest)
        self.flush()

    def flush(self) -> None:
        """Pass on what was not passed on yet, as one piece."""
        piece = "".join(self._unsent)
        self._unsent.clear()
        if piece:
            self._on_piece(piece)

    def _possible_mark(self, found: bytes) -> int:
        """How many bytes at the end may be the beginning of the mark."""
        start = found.find(self._mark[:1], max(0, len(found) - len(self._mark) + 1))
        while start >= 0:
            if self._mark.startswith(found[start:]):
                return len(found) - start
            start = found.find(self._mark[:1], start + 1)
        return 0

    def _add(self, output: bytes, *, final: bool = False) -> None:
        if output or final:
            self._take(self._decoder.decode(output, final=final))

    def _take(self, text: str) -> None:
        if head := self._kept.take(text):
            self._unsent.append(head)


def _note(missing_chars: int) -> str:
    return f"\n[... {missing_chars:,} characters were not kept ...]\n"
