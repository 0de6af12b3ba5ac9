"""Holds a context in memory for guests of the same far machine, so that it is sent there once.

It lies in an anonymous file, which goes with this process and never has a name in the file system.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest.remote.hearing import Hearing
from rlm.repl.guest.wire import HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.repl.guest.remote.upward import Upward


def main(upward: Upward, settings: Mapping[str, Any]) -> NoReturn:
    """Take the context from stdin, say where it is, and keep it as long as the host is there."""
    host = Hearing(upward, settings["lease_s"])
    held = os.memfd_create("context")
    left = settings["holds_bytes"]
    while left:
        size, _kind = HEADER.unpack(host.hear(HEADER.size))  # an empty one shows that the host is there
        block = memoryview(host.hear(size))
        left -= size
        while block:
            block = block[os.write(held, block) :]
    upward.note(t="held", path=f"/proc/{os.getpid()}/fd/{held}")
    upward.finish()
    while True:
        host.hear(1)
