"""The small process from which confined ones are forked, one for each call: it has one thread and runs our code only.

A forked child has the layers of a sandbox on before it touches a file: it can read what the call names, has no network,
writes to its end of a pipe alone, and is killed at its deadline or when the host goes. The host must not import this.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.confined.frames import DONE, FAILED, LENGTH, PIECE, STATUS_BYTES, read_exactly, send
from rlm.repl.guest import kernel
from rlm.repl.guest.linux import confine, paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Function = Callable[..., Iterator[Any]]

_MOST_DESCRIPTORS = 4
_WORDS_CHARS = 300
_OF_THE_SYSTEM = ("/proc/meminfo", "/sys/fs/cgroup")
"""What libraries read to learn how much memory there is."""


def main() -> None:
    """Answer calls until the host goes; arguments: the descriptor of the socket to it, the folder of this package."""
    control, package = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    namespaces = confine.enter_namespaces()
    kernel.limit_arenas()
    while True:
        header, descriptors, _flags, _address = socket.recv_fds(control, LENGTH.size, _MOST_DESCRIPTORS)
        if len(header) < LENGTH.size:
            return
        call = json.loads(read_exactly(control.recv, *LENGTH.unpack(header)))
        out, *files = descriptors
        how = _Child(call, out, files, (package, *_OF_THE_SYSTEM)).run(control, namespaces)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(how.encode().ljust(STATUS_BYTES))


class _Child:
    """One call, and the process that makes it."""

    def __init__(self, call: Mapping[str, Any], out: int, files: Sequence[int], readable: Sequence[str]) -> None:
        self._call = call
        self._out = out
        self._files = files
        self._readable = readable

    def run(self, control: socket.socket, namespaces: confine.Layer) -> str:
        """Make the call; how it ended: `time`, `ended` or the number of a signal."""
        module, _, name = self._call["target"].partition(":")
        function: Function = getattr(importlib.import_module(module), name)
        for preloaded in self._call["preload"]:
            importlib.import_module(preloaded)
        gc.freeze()
        server = os.getpid()
        child = os.fork()
        if not child:
            self._confined(function, namespaces, server)
        return _end_of(child, control, self._call["timeout_s"])

    def _confined(self, function: Function, namespaces: confine.Layer, server: int) -> NoReturn:
        """In the child: put on the layers, then call the function."""
        try:
            if lacking := self._put_on(namespaces, server):
                what = "; ".join(f"{layer.name}: {layer.detail}" for layer in lacking)
                send(self._out, FAILED, f"nothing here can confine the process that would read it ({what})".encode())
            else:
                send(self._out, *self._outcome(function))
        finally:
            os._exit(0)

    def _put_on(self, namespaces: confine.Layer, server: int) -> list[confine.Layer]:
        """Confine this process; the layers that it can't do without and doesn't have."""
        known = paths.readable(packages=True, checkouts=True)
        own = f"/proc/{os.getpid()}/cgroup"
        readable = paths.Readable(
            trees=(*known.trees, *self._readable, *self._call["readable"], own), listings=known.listings
        )
        plan = confine.prepare(readable, self._call["memory_bytes"], namespaces)
        plan.drop_user = False  # files may be readable by this user alone; Landlock lets it read no others
        return confine.missing(confine.apply(plan, server))

    def _outcome(self, function: Function) -> tuple[bytes, bytes]:
        """Send what the function gives, piece by piece; what is to be sent after that."""
        try:
            for piece in function(self._files, **self._call["arguments"]):
                send(self._out, PIECE, json.dumps(piece).encode())
        except MemoryError:
            return FAILED, f"it takes more than the {self._call['memory_bytes'] >> 20} MB of memory it may".encode()
        except RecursionError:
            return FAILED, b"it is nested too deep"
        except Exception as error:  # noqa: BLE001 - a parser of hostile data may raise anything
            return FAILED, _words(error).encode("utf-8", "replace")
        return DONE, b""


def _words(error: Exception) -> str:
    """What an error says, on one line; of a foreign one, its class too."""
    said = " ".join(str(error).split())[:_WORDS_CHARS]
    return said if said and type(error).__module__.startswith("rlm.") else f"{type(error).__name__}: {said}"


def _end_of(child: int, control: socket.socket, timeout_s: float) -> str:
    """Wait for a child, which is killed when its time is over or the host goes; how it ended."""
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(control, select.POLLRDHUP)
    is_over = pidfd not in [descriptor for descriptor, _ in poll.poll(timeout_s * 1000)]
    if is_over:
        os.kill(child, signal.SIGKILL)
    os.close(pidfd)
    _, status = os.waitpid(child, 0)
    return "time" if is_over else str(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else "ended"
