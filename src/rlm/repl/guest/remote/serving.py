"""The guest on another machine: confines itself as far as the kernel there lets it, then serves cells like any other.

It says which layers hold before it is given a context, puts them on once it has loaded that, and runs no cell without
Landlock and seccomp unless its user allowed that.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest import kernel
from rlm.repl.guest.capture import Output
from rlm.repl.guest.link import DescriptorTransport
from rlm.repl.guest.linux import confine, paths, trial
from rlm.repl.guest.main import Prepared, serve
from rlm.repl.guest.placing import (
    FRAMES_IN,
    FRAMES_OUT,
    GIVEN,
    OUTPUT,
    bind_packages,
    read_placed,
    receive,
    take_places,
)
from rlm.repl.guest.wire import WireError, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.repl.guest.context import Given
    from rlm.repl.guest.linux.confine import Confinement, Layer

_FAILED = 70


def main(streams: tuple[int, int, int], given: int, settings: Mapping[str, Any], namespaces: Layer) -> NoReturn:
    """Serve the host over `streams`, which are frames in, frames out and output, until it goes; `given` is the
    descriptor of a context, or -1.
    """
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        take_places(*streams, given)
        kernel.die_with_parent(os.getppid())
        _serve(GIVEN if given >= 0 else -1, settings, namespaces)
        os._exit(0)
    except BaseException as e:  # noqa: BLE001 - process 1 must not get its own code back from here
        os.write(2, f"the guest failed: {type(e).__name__}: {e}".encode())
    finally:
        os._exit(_FAILED)


def _serve(given: int, settings: Mapping[str, Any], namespaces: Layer) -> None:
    kernel.prefer_as_victim()
    bind_packages()
    readable = paths.readable(packages=True, checkouts=False)
    sys.path[:] = paths.import_path(packages=True, checkouts=False)
    plan = confine.prepare(readable, settings["memory_bytes"], namespaces)
    layers = trial.layers_of(plan)
    os.write(FRAMES_OUT, pack({"t": "warm", "layers": [asdict(layer) for layer in layers], "given": given >= 0}))
    placed = read_placed()
    source = receive(placed["streamed_bytes"]) if placed["streamed_bytes"] else given
    loader = ConfinedLoader(source, plan, require_all=not settings["allow_unconfined"])
    serve(DescriptorTransport(FRAMES_IN, FRAMES_OUT), Output(OUTPUT), Prepared(load=loader.load, report=loader.report))


class ConfinedLoader:
    """Loads the context, then confines this process: so the limit of memory is above the context."""

    def __init__(self, source: int, plan: Confinement, *, require_all: bool) -> None:
        self._source = source
        self._plan = plan
        self._require_all = require_all
        self.report: dict[str, str] = {}
        """The layers by name, known once they are on."""

    def load(self, note: Mapping[str, Any]) -> Given | None:
        """The context that the host's note describes. Raises:
        WireError: it can't be loaded, or the process can't be confined.
        """
        given = None if note["kind"] == "none" else self._decoded(note)
        time.tzset()
        os.environ.clear()
        layers = confine.apply(self._plan, os.getppid())
        missing = confine.missing(layers)
        if missing and self._require_all:
            raise WireError(f"not confined: {missing[0].name}: {missing[0].detail}")
        self.report |= {layer.name: layer.detail if layer.active else f"missing: {layer.detail}" for layer in layers}
        return given

    def _decoded(self, note: Mapping[str, Any]) -> Given:
        from rlm.repl.guest import context

        try:
            return context.load(self._source, note["kind"], note["parts"])
        except (MemoryError, ValueError) as e:
            raise WireError(f"the context cannot be loaded: {type(e).__name__}: {e}") from e
        finally:
            if self._source >= 0:
                os.close(self._source)
