"""The first process at a far end: reads its settings, then holds a context or starts process 1 of a guest.

It runs as the user who logged in, outside of the guest's namespaces, and no guest code runs in it. Whatever it starts
ends when its stdin does, or when that has kept silent for longer than the lease.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest.linux import confine
from rlm.repl.guest.remote import holder, relay
from rlm.repl.guest.remote.upward import Upward
from rlm.repl.guest.wire import HEADER, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNALLED = 128


def main() -> NoReturn:
    """Do what the settings say, which are the first frame on stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # it leads a session already
        os.setsid()
    settings = unpack(_read(unpack_header(_read(HEADER.size))))
    upward = Upward(os.dup(1), as_text=settings["as_text"])
    upward.put_raw(b"\n%s\n" % settings["token"].encode())
    upward.flush()
    if settings["holds_bytes"]:
        holder.main(upward, settings)
    _start(upward, settings)


def _start(upward: Upward, settings: Mapping[str, Any]) -> NoReturn:
    """Start process 1 in namespaces of its own, where the system permits them, and end with it."""
    given = os.open(settings["context"], os.O_RDONLY | os.O_CLOEXEC) if settings["context"] else -1
    namespaces = confine.enter_namespaces(processes=True)
    child = os.fork()
    if child == 0:
        relay.main(upward, relay.Plan(settings=settings, given=given, namespaces=namespaces))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2, upward.descriptor):  # else the host would never see their end
        os.dup2(nothing, descriptor)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else _SIGNALLED - status)


def _read(size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(0, size)
        if not piece:
            os._exit(0)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
