"""What a confined process and its host say to each other through a pipe: one byte for the kind of a frame, four for its
length, then its content. The host takes a frame for data, whatever it says."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE, FAILED, DONE = b"p", b"f", b"d"
"""A piece of the result in JSON; the words of an error; the end of a result that is whole."""
FRAME_BYTES = 64 << 20
"""The largest frame that a host takes."""
STATUS_BYTES = 16
"""The length of what the server says of how a call ended."""
_HEADER = struct.Struct(">cI")
LENGTH = struct.Struct(">I")


def send(fd: int, kind: bytes, content: bytes) -> None:
    """Write one frame to a pipe."""
    left = memoryview(_HEADER.pack(kind, len(content)) + content)
    while left:
        left = left[os.write(fd, left) :]


def received(fd: int) -> Iterator[tuple[bytes, bytes]]:
    """The frames in a pipe, each with its kind, until it ends or a frame is cut off or too long."""
    while header := read_exactly(lambda size: os.read(fd, size), _HEADER.size):
        kind, length = _HEADER.unpack(header)
        if length > FRAME_BYTES:
            return
        content = read_exactly(lambda size: os.read(fd, size), length)
        if len(content) < length:
            return
        yield kind, content


def read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """So many bytes; none where the data ends before."""
    pieces, left = [], size
    while left:
        piece = read(min(left, 1 << 20))
        if not piece:
            return b""
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
