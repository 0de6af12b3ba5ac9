"""What a guest does that starts before its context is known: takes its descriptors' places, imports while nobody wants
anything, and reads what the host places.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import select
import site
import sys
from typing import TYPE_CHECKING, Any

from rlm.repl.guest import preload
from rlm.repl.guest.wire import HEADER, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Mapping

FRAMES_IN, FRAMES_OUT, OUTPUT, GIVEN = 3, 4, 5, 6
"""The places of the descriptors; the last is that of a context that is held elsewhere."""
_ABOVE = 32
_CONTEXT = "context"


def take_places(incoming: int, outgoing: int, output: int, given: int = -1) -> None:
    """Give each descriptor its place and close every other one; standard output and errors are the output."""
    lifted = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE) for fd in (incoming, outgoing, output)]
    last = OUTPUT
    if given >= 0:
        lifted.append(fcntl.fcntl(given, fcntl.F_DUPFD, _ABOVE))
        last = GIVEN
    for target, source in enumerate(lifted, FRAMES_IN):
        os.dup2(source, target)
    for target in (1, 2):
        os.dup2(OUTPUT, target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


def bind_packages() -> None:
    """Let cells import the packages that are installed for this Python."""
    sys.path += [folder for folder in site.getsitepackages() if os.path.isdir(folder)]


def import_while_idle() -> None:
    """Import what cells are likely to use, one module at a time, until the host has something to say."""
    from rlm.repl.guest import loops  # asyncio, which takes a while to import

    loops.install()
    poll = select.poll()
    poll.register(FRAMES_IN, select.POLLIN)
    for name in preload.LIBRARY:
        if poll.poll(0):
            return
        with contextlib.suppress(ImportError):  # a Python built without it
            importlib.import_module(name)


def read_placed() -> Mapping[str, Any]:
    """The first frame: what was placed, and what memory there is."""
    return unpack(_read(unpack_header(_read(HEADER.size))))


def receive(size: int) -> int:
    """Take a context that comes in blocks into a file in memory; returns its descriptor."""
    descriptor = os.memfd_create(_CONTEXT)
    while size:
        block = _read(HEADER.unpack(_read(HEADER.size))[0])
        size -= len(block)
        os.write(descriptor, block)
    return descriptor


def _read(size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(FRAMES_IN, size)
        if not piece:
            os._exit(0)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
