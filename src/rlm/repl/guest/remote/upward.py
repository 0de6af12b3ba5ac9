"""What a far process sends: pieces of frames, pieces of output and notes of its own, each behind a header.

They begin after a line with a token, for a far shell may print before. Where a line carries text alone, each write is
a line of base64.
"""

from __future__ import annotations

import os
import select
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.wire import HEADER, pack_value

if TYPE_CHECKING:
    from collections.abc import Mapping

FRAMES, OUTPUT, NOTE = 1, 2, 3
"""The kinds of pieces."""
ANSWER_S = 1.0
ANSWER_BYTES = 1 << 20
"""What is heard is answered, though once in so many seconds or bytes: so a host knows that the line works, and how much
of what it sent is still on its way."""
_LAST_S = 3.0
"""Seconds that the host may take to read the last of it."""


class Upward:
    """What waits to be sent to the host; never blocks on a host that doesn't read, but at the end."""

    def __init__(self, descriptor: int, *, as_text: bool) -> None:
        self.descriptor = descriptor
        self._as_text = as_text
        self._waiting = bytearray()
        os.set_blocking(descriptor, False)

    @property
    def is_waiting(self) -> bool:
        """The host has yet to read what was put."""
        return bool(self._waiting)

    def put_raw(self, line: bytes) -> None:
        """Send a line as it is."""
        self._waiting += line

    def put(self, kind: int, piece: bytes) -> None:
        """Send a piece behind its header."""
        whole = HEADER.pack(len(piece), kind) + piece
        self._waiting += b2a_base64(whole) if self._as_text else whole

    def note(self, **fields: Any) -> None:
        """Send a note."""
        told: Mapping[str, Any] = fields
        self.put(NOTE, pack_value(told))

    def flush(self) -> None:
        """Write as much as the host takes now. Raises:
        OSError: nobody will read it any more.
        """
        while self._waiting:
            try:
                written = os.write(self.descriptor, self._waiting)
            except BlockingIOError:
                return
            del self._waiting[:written]

    def finish(self) -> None:
        """Write the rest, for as long as the host goes on reading."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        try:
            self.flush()
            while self._waiting and poll.poll(_LAST_S * 1000):
                self.flush()
        except OSError:
            return
