"""This process's stdin and stdout as the way of a protocol, which nothing else may read or print on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """The descriptors of the protocol, which nobody else knows."""

    reading: int
    writing: int

    def open_reading(self) -> IO[bytes]:
        """What the client says, as a file."""
        return os.fdopen(self.reading, "rb", buffering=0)

    def open_writing(self) -> IO[bytes]:
        """What the client is told, as a file."""
        return os.fdopen(self.writing, "wb", buffering=0)


def reserve() -> Descriptors:
    """Take stdin and stdout for the protocol: reads of the one find nothing, and prints to the other go to stderr. To
    be called before anything that could print is imported."""
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Descriptors(reading=reading, writing=writing)
