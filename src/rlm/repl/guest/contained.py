"""The guest in a container: says that it is warm, takes what the host places, then serves cells like any other.

The container is the boundary. What this process puts on itself besides keeps accidents inside a cell: a memory limit
below the container's, so that too much is a MemoryError and not the end.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import select
import signal
import site
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest import kernel
from rlm.repl.guest.capture import Output
from rlm.repl.guest.link import DescriptorTransport
from rlm.repl.guest.main import Prepared, serve
from rlm.repl.guest.wire import HEADER, WireError, pack, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.repl.guest.context import Given

_FRAMES_IN, _FRAMES_OUT, _OUTPUT = 3, 4, 5
_SPOOL = Path("/rlm")
"""Where the host's folder is mounted; empty, but for a mark, until a context is placed."""
_MARK = "mark"
_CONTEXT = "context"
_FAILED = 70
_kill, _waitpid, _SIGKILL = os.kill, os.waitpid, signal.SIGKILL


def main(reading: int) -> NoReturn:
    """Serve the host, whose frames come over `reading`, until it goes."""
    try:
        _arrange(reading)
        os.write(_FRAMES_OUT, pack({"t": "warm", "mark": _mark(), "seccomp": _is_filtered()}))
        _import_while_idle()
        placed = _read_placed()
        streamed = _receive(placed["streamed_bytes"]) if placed["streamed_bytes"] else -1
        load = _loader(streamed, placed["memory_bytes"])
        prepared = Prepared(load=load, end_strays=_end_strays, report={"sandbox": "docker"})
        serve(DescriptorTransport(_FRAMES_IN, _FRAMES_OUT), Output(_OUTPUT), prepared)
        os._exit(0)
    except BaseException as e:  # noqa: BLE001 - process 1 must not get its own code back from here
        os.write(2, f"the guest failed: {type(e).__name__}: {e}".encode())
    finally:
        os._exit(_FAILED)


def _arrange(reading: int) -> None:
    """Give each descriptor its place, and bind the packages of the image's Python."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # else process 1 reaps them, a moment later
        kernel.adopt_orphans()
    incoming, outgoing, output = (_lifted(fd) for fd in (reading, 1, 2))
    for source, target in ((incoming, _FRAMES_IN), (outgoing, _FRAMES_OUT), (output, _OUTPUT), (output, 1)):
        os.dup2(source, target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(_OUTPUT + 1, os.sysconf("SC_OPEN_MAX"))
    sys.path += [folder for folder in site.getsitepackages() if Path(folder).is_dir()]
    os.environ.update({"HOME": "/tmp", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})  # noqa: S108 - the container's own


def _end_strays() -> None:
    """End every process of the container but the first one and this: all were started by cells. The kernel kills them
    at one stroke, so that none can escape by forking, and those whose parents are gone are this one's children then.
    """
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        _kill(-1, _SIGKILL)
        while True:
            _waitpid(-1, 0)


def _lifted(descriptor: int) -> int:
    """A copy above all places that are given out."""
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, 32)


def _mark() -> str:
    """What the host wrote into the folder it mounted; empty where none of its files can be seen."""
    try:
        return (_SPOOL / _MARK).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _is_filtered() -> bool:
    """The engine's filter of system calls is in force; asked here, where no guest code has run yet."""
    return "\nSeccomp:\t2\n" in Path("/proc/self/status").read_text(encoding="ascii")


def _import_while_idle() -> None:
    """Import what cells are likely to use, one module at a time, until the host has something to say."""
    from rlm.repl.guest import loops  # asyncio, which takes a while to import

    loops.install()
    from rlm.repl.guest import preload

    poll = select.poll()
    poll.register(_FRAMES_IN, select.POLLIN)
    for name in preload.LIBRARY:
        if poll.poll(0):
            return
        with contextlib.suppress(ImportError):  # a Python built without it
            importlib.import_module(name)


def _read_placed() -> Mapping[str, Any]:
    """The first frame: what was placed, and what memory there is."""
    return unpack(_read(unpack_header(_read(HEADER.size))))


def _receive(size: int) -> int:
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
        piece = os.read(_FRAMES_IN, size)
        if not piece:
            os._exit(0)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _loader(streamed: int, memory_bytes: int) -> Callable[[Mapping[str, Any]], Given | None]:
    def load(note: Mapping[str, Any]) -> Given | None:
        given = None if note["kind"] == "none" else _decoded(streamed, note)
        _limit_memory(memory_bytes)
        return given

    return load


def _decoded(streamed: int, note: Mapping[str, Any]) -> Given:
    from rlm.repl.guest import context

    source = streamed if streamed >= 0 else os.open(_SPOOL / _CONTEXT, os.O_RDONLY)
    try:
        return context.load(source, note["kind"], note["parts"])
    except (MemoryError, ValueError) as e:
        raise WireError(f"the context cannot be loaded: {type(e).__name__}: {e}; docker.memory may be too small") from e
    finally:
        os.close(source)


def _limit_memory(memory_bytes: int) -> None:
    """Allow so much above what there is by now, the context included."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
