"""What a cell prints: text over the output descriptor, flushed and marked when the cell ends.

The host keeps, counts and cuts; nothing is held back here, so that a kill loses nothing that was printed.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from typing import TextIO

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_open, _dup2, _write = io.open, os.dup2, os.write


class Output:
    """Descriptors 1 and 2, and `sys.stdout` and `sys.stderr` over them, in one order."""

    def __init__(self, descriptor: int) -> None:
        self._saved = descriptor
        """A copy of the output descriptor, apart from 1 and 2, which guest code may close."""
        self._stream = self._new_stream()

    def begin(self) -> None:
        """Set the streams up anew for a cell, whatever earlier cells did to them."""
        _dup2(self._saved, 1)
        _dup2(self._saved, 2)
        if self._stream.closed:
            self._stream = self._new_stream()
        sys.stdout = sys.stderr = self._stream

    def show(self, text: str) -> None:
        """Print the value of a cell's last expression."""
        sys.stdout.write(text + "\n")

    def end(self, mark: str) -> None:
        """Write out what waits, then the mark that tells the host that this was all."""
        for stream in (sys.stdout, self._stream):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):  # closed, detached or replaced by guest code
                self._stream = self._new_stream()
        _write(self._saved, mark.encode())

    def _new_stream(self) -> TextIO:
        return _open(self._saved, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
