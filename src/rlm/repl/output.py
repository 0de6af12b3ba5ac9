"""What cells print, as the host keeps it: decoded, capped, counted, passed on in pieces, cut at the end mark."""

from __future__ import annotations

import codecs
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK_START = "\x1e"


def new_mark() -> str:
    """A mark that no output contains by chance."""
    return f"{_MARK_START}{secrets.token_hex(16)}{_MARK_START}"


class CellOutput:
    """The output of one cell at a time; what comes between two cells belongs to the next."""

    def __init__(self, kept_chars: int, on_piece: Callable[[str], None]) -> None:
        self._kept_chars = kept_chars
        self._on_piece = on_piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._mark = b""
        self._tail = b""
        self._early = b""
        self._reset()

    def _reset(self) -> None:
        self._pieces: list[str] = []
        self._unsent: list[str] = []
        self._kept = 0
        self.total_chars = 0
        """Characters printed, kept or not."""
        self.is_complete = False
        """The mark has come."""

    def begin(self, mark: str) -> None:
        """A cell begins; its output ends with `mark`."""
        self._reset()
        self._decoder.reset()
        self._mark = mark.encode()
        early, self._early = self._early, b""
        if early:
            self._add(early)

    @property
    def text(self) -> str:
        """What was kept."""
        return "".join(self._pieces)

    @property
    def early_text(self) -> str:
        """What came before the first cell: the complaint of a guest that cannot start."""
        return self._early.decode("utf-8", "replace")

    @property
    def has_unsent(self) -> bool:
        """Some of what was kept was not passed on yet."""
        return bool(self._unsent)

    def feed(self, received: bytes) -> None:
        """Take the next bytes of the stream."""
        if self.is_complete or not self._mark:
            self._early = (self._early + received)[: self._kept_chars]
            return
        found = self._tail + received
        self._tail = b""
        output, mark, rest = found.partition(self._mark)
        if mark:
            self._add(output)
            self.end()
            self._early = rest
        else:
            keep = self._possible_mark(found)
            self._tail = found[len(found) - keep :]
            self._add(found[: len(found) - keep])

    def end(self) -> None:
        """No more output belongs to this cell."""
        self._add(self._tail, final=True)
        self._tail = b""
        self.is_complete = True
        self.flush()

    def flush(self) -> None:
        """Pass on what was not passed on yet, as one piece."""
        if self._unsent:
            piece = "".join(self._unsent)
            self._unsent.clear()
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
        text = self._decoder.decode(output, final=final)
        self.total_chars += len(text)
        text = text[: self._kept_chars - self._kept]
        if text:
            self._kept += len(text)
            self._pieces.append(text)
            self._unsent.append(text)
