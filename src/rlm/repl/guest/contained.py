"""The guest in a container: says that it is warm, takes what the host places, then serves cells like any other.

The container is the boundary. What this process puts on itself besides keeps accidents inside a cell: a memory limit
below the container's, so that too much is a MemoryError and not the end.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest import kernel
from rlm.repl.guest.capture import Output
from rlm.repl.guest.link import DescriptorTransport
from rlm.repl.guest.main import Prepared, serve
from rlm.repl.guest.placing import (
    FRAMES_IN,
    FRAMES_OUT,
    OUTPUT,
    bind_packages,
    import_while_idle,
    read_placed,
    receive,
    take_places,
)
from rlm.repl.guest.wire import WireError, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.repl.guest.context import Given

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
        os.write(FRAMES_OUT, pack({"t": "warm", "mark": _mark(), "seccomp": _is_filtered()}))
        import_while_idle()
        placed = read_placed()
        streamed = receive(placed["streamed_bytes"]) if placed["streamed_bytes"] else -1
        load = _loader(streamed, placed["memory_bytes"])
        prepared = Prepared(load=load, end_strays=_end_strays, report={"sandbox": "docker"})
        serve(DescriptorTransport(FRAMES_IN, FRAMES_OUT), Output(OUTPUT), prepared)
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
    take_places(reading, 1, 2)
    bind_packages()
    os.environ.update({"HOME": "/tmp", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})  # noqa: S108 - the container's own


def _end_strays() -> None:
    """End every process of the container but the first one and this: all were started by cells. The kernel kills them
    at one stroke, so that none can escape by forking, and those whose parents are gone are this one's children then.
    """
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        _kill(-1, _SIGKILL)
        while True:
            _waitpid(-1, 0)


def _mark() -> str:
    """What the host wrote into the folder it mounted; empty where none of its files can be seen."""
    try:
        return (_SPOOL / _MARK).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _is_filtered() -> bool:
    """The engine's filter of system calls is in force; asked here, where no guest code has run yet."""
    return "\nSeccomp:\t2\n" in Path("/proc/self/status").read_text(encoding="ascii")


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
