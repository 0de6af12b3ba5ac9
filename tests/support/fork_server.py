"""A fork server for `rlm`: one interpreter that has loaded all of it, of which each run is forked.

What is forked is a process of its own, with its own streams, environment, signals and end; only the second that loading
takes is spent once. Run as a program, this module is that interpreter: it must stay free of threads.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

RLM = str(Path(sys.executable).with_name("rlm"))
_REQUEST_BYTES = 1 << 17
_PIPE_BYTES = 1 << 16
"""How much a pipe holds before anybody reads it."""
_GUEST = "rlm.repl.guest."
"""What travels into sandboxes, and is loaded there."""


class ForkServer:
    """The client's end: runs `rlm` to its end, one at a time."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, env=environ, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str], stdin: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run `rlm` with these arguments; without `stdin` it gets none."""
        request = json.dumps({"argv": [RLM, *arguments], "cwd": str(cwd), "environ": dict(environ)}).encode()
        assert len(request) < _REQUEST_BYTES
        with _text_file() as out, _text_file() as errors:
            given = _source(stdin)
            socket.send_fds(self._control, [request], [given, out.fileno(), errors.fileno()])
            os.close(given)
            code = int(self._control.recv(_REQUEST_BYTES))
            return subprocess.CompletedProcess([RLM, *arguments], code, _all_of(out), _all_of(errors))

    def close(self) -> None:
        """End the interpreter."""
        self._control.close()
        self._process.wait()


def _source(stdin: str | None) -> int:
    """A descriptor to read it from."""
    if stdin is None:
        return os.open(os.devnull, os.O_RDONLY)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        assert len(stdin.encode()) <= _PIPE_BYTES
        pipe.write(stdin.encode())
    return reading


def _text_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def _all_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def main(descriptor: int) -> None:
    """Fork a process for each request and answer with its exit code, until the client closes the socket."""
    control = socket.socket(fileno=descriptor)
    sys.path.insert(0, str(Path(RLM).parent))  # as for a script there
    _load()
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 3)
        if not request:
            return
        if (pid := os.fork()) == 0:
            control.close()
            _become(descriptors, **json.loads(request))
        for each in descriptors:
            os.close(each)
        control.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def _load() -> None:
    import rlm

    for module in pkgutil.walk_packages(rlm.__path__, "rlm."):
        if module.name != "rlm.__main__" and not module.name.startswith(_GUEST):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # so that the memory stays shared


def _become(descriptors: Sequence[int], *, argv: list[str], cwd: str, environ: dict[str, str]) -> None:
    """Be the process of this command line; doesn't return."""
    from rlm.cli.main import main as rlm

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = argv
    try:
        rlm()
    except SystemExit as ended:
        _end(int(ended.code or 0))


def _end(code: int) -> None:
    """End as the interpreter does, but for the taking apart of all that it has loaded; doesn't return."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
