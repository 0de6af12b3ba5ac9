"""The process of one REPL: the guest half of rlm-runtime, over a socket, with a limit on memory and nothing else."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.repl.guest import context, kernel, loops
from rlm.repl.guest.capture import Output
from rlm.repl.guest.link import DescriptorTransport
from rlm.repl.guest.main import Prepared, serve

if TYPE_CHECKING:
    from collections.abc import Mapping


def main(host_pid: int, frames: int, output: int, path: str, memory_bytes: int) -> None:
    """Serve the host over the socket `frames`, and end with it; the context is in the file at `path`."""
    kernel.die_with_parent(host_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loops.install()  # in which cells may await calls of the host

    def load(note: Mapping[str, Any]) -> Any:
        source = os.open(path, os.O_RDONLY)
        value = None if note["kind"] == "none" else context.load(source, note["kind"], note["parts"])
        os.close(source)
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory_bytes, used + memory_bytes))
        return value

    serve(DescriptorTransport(frames, frames), Output(output), Prepared(load=load, report={"sandbox": "toy"}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
