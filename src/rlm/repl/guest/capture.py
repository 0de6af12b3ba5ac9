"""What a cell prints: text over the output descriptor, flushed and marked when the cell ends.

The host keeps, counts and cuts; nothing of a cell is held back here, so that a kill loses nothing that was printed.
What threads of earlier cells print is held, and told apart from what the cell prints.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
import threading
from contextlib import suppress
from threading import current_thread
from typing import TypeVar

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_dup2, _write, _set_blocking = os.dup2, os.write, os.set_blocking
_FileIO, _BufferedWriter, _TextIOWrapper = io.FileIO, io.BufferedWriter, io.TextIOWrapper
_flush = io.TextIOWrapper.flush
_threads = threading._active  # type: ignore[attr-defined]  # `enumerate` takes a lock
Stream = TypeVar("Stream", bound=io.TextIOWrapper)
_HELD_CHARS = 2_000
"""How much of what threads of earlier cells print is shown: the end of it."""


class Output:
    """Descriptors 1 and 2, and `sys.stdout` and `sys.stderr` over them, in one order."""

    def __init__(self, descriptor: int) -> None:
        self._saved = descriptor
        """A copy of the output descriptor, apart from 1 and 2, which guest code may close."""
        self._late = _Late()
        self._stream: io.TextIOWrapper | None = None
        self._shared: _SharedStream | None = None
        """In the place of the other as long as threads of earlier cells live."""

    def begin(self) -> None:
        """Set the streams up anew for a cell, whatever earlier cells did to them."""
        _dup2(self._saved, 1)
        _dup2(self._saved, 2)
        self._late.note_threads()
        sys.stdout = sys.stderr = self._present()

    def show(self, text: str) -> None:
        """Print the value of a cell's last expression, wherever the cell has sent what it prints."""
        self._stream, self._shared = _flushed(self._stream), _flushed(self._shared)
        self._present().write(text + "\n")

    def end(self, mark: str) -> None:
        """Write out what waits, then the mark that tells the host that this was all."""
        with suppress(OSError):  # guest code may have told it not to block
            _set_blocking(self._saved, True)
        with suppress(BaseException):  # guest code may have put anything there, or nothing
            sys.stdout.flush()
        self._stream, self._shared = _flushed(self._stream), _flushed(self._shared)
        told = self._late.told()
        self._late.note_threads()
        sys.stdout = sys.stderr = self._present()  # for what threads print until the next cell begins
        _write(self._saved, (told + mark).encode("utf-8", "backslashreplace"))

    def _present(self) -> io.TextIOWrapper:
        """The stream of now: the plain one, which is faster, unless threads of earlier cells may print."""
        if self._late.has_threads:
            self._shared = self._shared or _shared(self._saved, self._late)
            return self._shared
        self._stream = self._stream or _new(self._saved)
        return self._stream


class _Late:
    """What threads of earlier cells print."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._text = ""
        self._chars = 0

    @property
    def has_threads(self) -> bool:
        """Threads were there when the cell began, or ended."""
        return bool(self._threads)

    def note_threads(self) -> None:
        """All threads that there are by now are those of earlier cells."""
        main = current_thread()
        self._threads = [each for each in list(_threads.values()) if each is not main]

    def take(self, text: str) -> bool:
        """Hold `text`, if such a thread prints it; returns whether it did."""
        current = current_thread()
        if not any(each is current for each in self._threads):
            return False
        self._chars += len(text)
        self._text = (self._text + text)[-_HELD_CHARS:]
        return True

    def told(self) -> str:
        """What was held, as the model is shown it; it is held no longer."""
        if not self._chars:
            return ""
        cut = "" if self._chars == len(self._text) else "; the end of it"
        text = f"\n[Threads of earlier cells printed {self._chars:,} characters meanwhile{cut}:]\n{self._text}"
        self._text, self._chars = "", 0
        return text


class _SharedStream(io.TextIOWrapper):
    """A stream to which threads of earlier cells print too."""

    late: _Late

    def write(self, text: str, /) -> int:
        return len(text) if self.late.take(text) else super().write(text)


def _flushed(stream: Stream | None) -> Stream | None:
    """The stream with nothing left in it; None if guest code has closed or detached it."""
    try:
        if stream is not None:
            _flush(stream)
    except (OSError, ValueError):
        return None
    return stream


def _shared(descriptor: int, late: _Late) -> _SharedStream:
    stream = _SharedStream(_raw(descriptor), "utf-8", "backslashreplace", line_buffering=True)
    stream.late = late
    return stream


def _new(descriptor: int) -> io.TextIOWrapper:
    return _TextIOWrapper(_raw(descriptor), "utf-8", "backslashreplace", line_buffering=True)


def _raw(descriptor: int) -> io.BufferedWriter:
    return _BufferedWriter(_FileIO(descriptor, "w", closefd=False))
