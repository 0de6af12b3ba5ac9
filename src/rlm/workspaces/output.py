"""What a command prints: masked, its end in memory, all of it in a file up to a bound, which is read by offset."""

from __future__ import annotations

import codecs
import os
from typing import IO, TYPE_CHECKING

from rlm.workspaces.values import LOG_BYTES, TAIL_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rlm.secrets.masking import SecretMasker

_NEW = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_BYTES = 1 << 16


class CommandOutput:
    """The output of one command. A secret that is cut by a piece, a character too, is whole before it is looked at."""

    def __init__(self, path: Path, masker: SecretMasker | None, heard: Callable[[str], None]) -> None:
        """`heard` is given what is ready, masked. Raises:
        OSError: the log can't be written.
        """
        self._file: IO[bytes] = os.fdopen(os.open(path, _NEW, 0o600), "ab", buffering=0)
        self._room = LOG_BYTES - self._file.seek(0, os.SEEK_END)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._masked = None if masker is None else masker.stream()
        self._heard = heard
        self._tail = ""
        self.size_bytes = 0
        """How much the command printed."""
        self.problem: OSError | None = None
        """Why the log misses something."""

    def take(self, piece: bytes) -> None:
        """Take what was printed, cut anywhere."""
        self.size_bytes += len(piece)
        text = self._decoder.decode(piece)
        self._give(text if self._masked is None else self._masked.feed(text))

    def close(self) -> None:
        """Give out what was held back, and close the log."""
        text = self._decoder.decode(b"", final=True)
        self._give(text if self._masked is None else self._masked.feed(text) + self._masked.close())
        self._file.close()

    @property
    def tail(self) -> str:
        """The last 50 KB of it."""
        return self._tail.encode("utf-8", "replace")[-TAIL_BYTES:].decode("utf-8", "ignore")

    @property
    def is_cut(self) -> bool:
        """The log does not have all."""
        return self._room < 0

    def _give(self, text: str) -> None:
        if not text:
            return
        self._tail = (self._tail + text)[-TAIL_BYTES:]
        raw = text.encode("utf-8", "replace")
        try:
            if self._room > 0:
                self._file.write(raw[: self._room])
            self._room -= len(raw)
        except OSError as e:  # a full disk ends no command
            self.problem = e
        self._heard(text)


def read_log(path: Path, offset: int) -> bytes:
    """What a log has from that byte on, a piece of it at most; empty at its end, and where it isn't there yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_PIECE_BYTES)
    except FileNotFoundError:
        return b""
