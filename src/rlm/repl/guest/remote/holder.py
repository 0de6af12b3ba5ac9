"""Holds a context in memory for guests of the same far machine, so that it is sent there once.

It lies in an anonymous file, which goes with this process and never has a name in the file system.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest.remote.upward import ANSWER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.repl.guest.remote.upward import Upward

_BLOCK_BYTES = 1 << 20


def main(upward: Upward, settings: Mapping[str, Any]) -> NoReturn:
    """Take the context from stdin, say where it is, and keep it as long as the host is there."""
    os.set_blocking(0, False)
    holder = Holder(upward, settings["lease_s"])
    held = os.memfd_create("context")
    left = settings["holds_bytes"]
    while left:
        piece = memoryview(holder.hear(left))
        left -= len(piece)
        while piece:
            piece = piece[os.write(held, piece) :]
    upward.note(t="held", path=f"/proc/{os.getpid()}/fd/{held}")
    upward.finish()
    while True:
        holder.hear(_BLOCK_BYTES)


class Holder:
    """Listens to the host, whose end or silence ends this process."""

    def __init__(self, upward: Upward, lease_s: float) -> None:
        self._upward = upward
        self._lease_ms = lease_s * 1000
        self._answered_at = 0.0
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)

    def hear(self, size: int) -> bytes:
        """What the host says next, at most `size` bytes; it is answered, though not each time."""
        if not self._poll.poll(self._lease_ms):
            os._exit(0)
        received = os.read(0, min(size, _BLOCK_BYTES)) or os._exit(0)
        now = time.monotonic()
        if now - self._answered_at > ANSWER_S:
            self._answered_at = now
            self._upward.note(t="used", cpu_s=0.0, threads=0)
            self._upward.finish()
        return received
