"""The keeper: the one process of a sandbox at the far end that is sent the guest half, and forks whatever runs there.

Each guest has a line of its own, on which a tiny program asks the keeper, over a socket that only its own user may use,
for a process with that line's streams. So a guest starts in the time of a login, and nothing is sent twice. No guest
code runs in the keeper. It ends when its stdin does, or when that has kept silent for longer than the lease.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest import kernel, loops, preload
from rlm.repl.guest.linux import confine
from rlm.repl.guest.remote import holder, relay
from rlm.repl.guest.remote.hearing import Hearing
from rlm.repl.guest.remote.upward import Upward
from rlm.repl.guest.wire import HEADER, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNALLED = 128
_STREAMS = 3
_BACKLOG = 64
_CREDENTIALS = struct.Struct("3i")
"""The process, user and group of a peer, as SO_PEERCRED gives them."""


def main() -> NoReturn:
    """Keep what guests start from, as the settings say, which are the first frame on stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # it leads a session already
        os.setsid()
    settings = _settings()
    upward = _begun(settings)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(f"\0{settings['name']}")
    listening.listen(_BACKLOG)
    upward.note(t="kept")
    upward.finish()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    kernel.limit_arenas()
    preload.import_library()
    loops.install()
    gc.collect()
    gc.freeze()
    _keep(listening, Hearing(upward, settings["lease_s"]))


def _keep(listening: socket.socket, host: Hearing) -> NoReturn:
    """Fork for each who asks, until the host goes."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(listening, select.POLLIN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps; nobody here asks how they ended
    heard_at = time.monotonic()
    while (left_s := heard_at + host.lease_s - time.monotonic()) > 0:
        ready = dict(poll.poll(left_s * 1000))
        if 0 in ready:
            host.hear(1)
            heard_at = time.monotonic()
        if listening.fileno() in ready:
            asking = listening.accept()[0]
            if os.fork() == 0:
                listening.close()
                _serve(asking)
            asking.close()
    os._exit(0)


def _serve(asking: socket.socket) -> NoReturn:
    """Become what the program at the other end of the socket asks for, with its streams in the place of one's own."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        peer = _CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if peer[1] != os.geteuid():
            os._exit(0)
        _said, streams, _flags, _address = socket.recv_fds(asking, 1, _STREAMS)
        for target, source in enumerate(streams):
            os.dup2(source, target)
            os.close(source)
        settings = _settings()
        upward = _begun(settings)
        if settings["holds_bytes"]:
            holder.main(upward, settings)
        code = _start(upward, settings, asking.fileno())
        asking.send(bytes([code]))
    finally:
        os._exit(0)


def _start(upward: Upward, settings: Mapping[str, Any], asking: int) -> int:
    """Start process 1 of a guest in namespaces of its own, where the system permits them; returns how it ended, as a
    shell would.
    """
    given = _opened(settings["context"]) if settings["context"] else -1
    namespaces = confine.enter_namespaces(processes=True)
    child = os.fork()
    if child == 0:
        os.close(asking)
        relay.main(upward, relay.Plan(settings=settings, given=given, namespaces=namespaces))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2, upward.descriptor):  # else the host would never see their end
        os.dup2(nothing, descriptor)
    if given >= 0:
        os.close(given)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else _SIGNALLED - status


def _begun(settings: Mapping[str, Any]) -> Upward:
    """The way to the host, on which the first word was said."""
    upward = Upward(os.dup(1), as_text=settings["as_text"])
    upward.put_raw(b"\n%s\n" % settings["token"].encode())
    upward.flush()
    return upward


def _opened(path: str) -> int:
    """A descriptor of the context that another process holds; -1 where the system lets nobody have it."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _settings() -> Mapping[str, Any]:
    return unpack(_read(unpack_header(_read(HEADER.size))))


def _read(size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(0, size)
        if not piece:
            os._exit(0)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
