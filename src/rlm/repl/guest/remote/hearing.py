"""How a far process without a guest listens to its host: whose end, or silence, ends it."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from rlm.repl.guest.remote.upward import ANSWER_BYTES, ANSWER_S

if TYPE_CHECKING:
    from rlm.repl.guest.remote.upward import Upward


class Hearing:
    """Reads stdin, and answers now and then."""

    def __init__(self, upward: Upward, lease_s: float) -> None:
        os.set_blocking(0, False)
        self.lease_s = lease_s
        self._upward = upward
        self._answered_at = 0.0
        self._heard_bytes = self._answered_bytes = 0
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)

    def hear(self, size: int) -> bytes:
        """The next `size` bytes that the host says."""
        pieces = []
        while size:
            pieces.append(self._heard(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _heard(self, most: int) -> bytes:
        if not self._poll.poll(self.lease_s * 1000):
            os._exit(0)
        received = os.read(0, most) or os._exit(0)
        now = time.monotonic()
        self._heard_bytes += len(received)
        if now - self._answered_at > ANSWER_S or self._heard_bytes - self._answered_bytes > ANSWER_BYTES:
            self._answered_at, self._answered_bytes = now, self._heard_bytes
            self._upward.note(t="used", cpu_s=0.0, threads=0, heard_bytes=self._heard_bytes)
            self._upward.finish()
        return received
