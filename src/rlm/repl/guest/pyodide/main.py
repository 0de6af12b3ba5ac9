"""The guest in Pyodide: Python compiled to WebAssembly, whose descriptors 0, 1 and 2 are those of the Deno process.

`prepare` runs once, where a memory snapshot is made; `main` in each process that starts from it. Python there has no
threads, no processes and no sockets; the rest of the guest half is the same as everywhere.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from rlm.repl.guest import context, loops, preload
from rlm.repl.guest.capture import Output
from rlm.repl.guest.link import DescriptorTransport
from rlm.repl.guest.main import Prepared, serve
from rlm.repl.guest.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.repl.guest.link import Transport

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_FRAMES_IN, _FRAMES_OUT, _OUTPUT = 0, 1, 2
_DOORS = ("js", "pyodide_js")
"""Modules that lead from Python to JavaScript."""
_LONG_S = 0.02
_monotonic = time.monotonic


class Host(Protocol):
    """What the JavaScript half offers."""

    def pause(self, milliseconds: float) -> None:
        """Sleep for that time, or until an interrupt."""
        ...

    def forget(self, may_follow: bool) -> None:
        """Drop an interrupt that was not noticed, after waiting for one that may be on its way."""
        ...

    def seal(self) -> None:
        """Give up what only the start needs: files, and memory without limit."""
        ...


class _CellOutput(Output):
    """Each cell begins without the interrupt of an earlier one, which the host sends only to one that ran for long."""

    def __init__(self, descriptor: int, forget: Callable[[bool], None]) -> None:
        super().__init__(descriptor)
        self._forget = forget
        self._began_at = _monotonic()

    def begin(self) -> None:
        now = _monotonic()
        self._forget(now - self._began_at > _LONG_S)
        self._began_at = now
        super().begin()


def prepare() -> None:
    """Import and set up all that every guest needs."""
    preload.import_library()


def main(host: Host) -> None:
    """Serve the host of this sandbox until it goes."""
    random.seed()  # the snapshot holds one state for all
    os.environ.clear()
    time.sleep = _sleep_by(host.pause)  # type: ignore[assignment]
    _take_asyncio_back()
    _shut_doors()
    frames = DescriptorTransport(os.dup(_FRAMES_IN), os.dup(_FRAMES_OUT))
    os.dup2(os.open(os.devnull, os.O_RDONLY), _FRAMES_IN)  # `input()` would take frames for what somebody typed
    output = _CellOutput(os.dup(_OUTPUT), host.forget)
    serve(frames, output, Prepared(load=_loader(host, frames), report={"sandbox": "wasm"}))


def _loader(host: Host, frames: Transport) -> Callable[[Mapping[str, Any]], context.Given | None]:
    def load(note: Mapping[str, Any]) -> context.Given | None:
        try:
            given = None if note["kind"] == "none" else _decoded(frames, note["kind"], note["parts"])
        except (WireError, MemoryError, ValueError) as e:
            os.write(_OUTPUT, f"the context cannot be loaded: {type(e).__name__}: {e}".encode())
            os._exit(1)
        host.seal()
        return given

    return load


def _decoded(frames: Transport, kind: str, parts: list[list[Any]]) -> context.Given:
    """The context, whose bytes follow `init` on the way of the frames."""
    buffer = bytearray(context.size_bytes(parts))
    rest = memoryview(buffer)
    while rest:
        count = frames.read_into(rest)
        if not count:
            os._exit(0)
        rest = rest[count:]
    return context.decode(memoryview(buffer), kind, parts)


def _sleep_by(pause: Callable[[float], None]) -> Callable[[float], None]:
    """Emscripten's own sleep spins, and notices no interrupt."""

    def sleep(seconds: float, /) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        until = _monotonic() + seconds
        while (rest := until - _monotonic()) > 0:
            pause(rest * 1000)

    return sleep


def _take_asyncio_back() -> None:
    """Pyodide's event loop runs in that of JavaScript, to which a cell never returns."""
    asyncio._set_running_loop(None)
    asyncio.run = asyncio.runners.run
    loops.install(loops.SleepingLoop)


def _shut_doors() -> None:
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "JsFinder"]
    for name in list(sys.modules):
        if name.partition(".")[0] in _DOORS:
            sys.modules[name] = None  # type: ignore[assignment]
