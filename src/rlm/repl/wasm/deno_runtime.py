"""Deno as a process: found where its package is installed, started with all permissions denied but to read some files.

Everything that bounds the process from outside is put on here, by a small launcher that then becomes Deno. What
the process runs is not known here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rlm.core.exceptions import SandboxUnavailableError
from rlm.core.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rlm.core.types import Json

SCRIPTS = Path(__file__).parents[1] / "guest" / "deno"
"""The JavaScript half of the guest."""
_ROOT = str(Path(__file__).parents[3])
_BOOTSTRAP = "import sys; sys.path.append({root!r}); from rlm.repl.wasm.launch import {entry}; {entry}()"
_OLDEST = (2, 5)
_STACK_KB = 3072
"""The stack that calls may take, of the 4 MB of the thread in which Python runs. Below V8's own limit, a third of this,
a `__repr__` that calls itself ended the process before Python could raise RecursionError.
"""
_TIERING_BUDGET = 100_000_000
"""The bytes of WebAssembly that a function runs before V8 compiles it anew, to faster code. At V8's own, an eighth of
this, hundreds of functions were compiled that a REPL hardly uses: a sixth of what its start and short cells cost.
"""
_CLOSED = (
    "--no-remote",
    "--no-npm",
    "--no-config",
    "--no-lock",
    "--no-prompt",
    "--cached-only",
    "--no-code-cache",
    f"--v8-flags=--disallow-code-generation-from-strings,--stack-size={_STACK_KB},"
    f"--wasm-tiering-budget={_TIERING_BUDGET}",
)
_ENVIRONMENT = {
    "DENO_DIR": "/dev/null/none",  # can't exist: what a guest might keep there has no place at all
    "DENO_NO_UPDATE_CHECK": "1",
    "NO_COLOR": "1",
}
_BASE_BYTES = 2 << 30
"""The private data that V8 and Pyodide take for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deno:
    """An installed Deno."""

    binary: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoTask:
    """What a Deno process is started for."""

    script: str
    """A file name in `SCRIPTS`."""
    settings: Mapping[str, Json]
    """Given to the script; paths and numbers only."""
    readable: Sequence[Path]
    """Files and folders that it may read, besides the scripts."""
    memory_bytes: int
    """The most private data, above what Deno takes itself."""
    file_bytes: int = 0
    """The largest file that it may write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """What becomes the process's descriptors 0, 1 and 2."""

    stdin: int | IO[bytes]
    stdout: int | IO[bytes]
    stderr: int | IO[bytes]


def find() -> Deno:
    """Deno as it is installed in this Python environment. Raises:
    SandboxUnavailableError: it is not installed, or too old.
    """
    try:
        binary, version = str(import_module("deno").find_deno_bin()), metadata.version("deno")
    except (ImportError, FileNotFoundError, metadata.PackageNotFoundError) as e:
        raise SandboxUnavailableError(
            f"the sandbox wasm needs the package deno, which is not installed\ninstall it: {install_command('wasm')}"
        ) from e
    if sys.platform != "linux":
        raise SandboxUnavailableError('the sandbox wasm needs Linux\nuse another: environment = "docker"')
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise SandboxUnavailableError(
            f"Deno {version} is too old for the sandbox wasm\ninstall it: {install_command('wasm')}"
        )
    return Deno(binary=binary, version=version)


def start(deno: Deno, task: DenoTask, streams: Streams) -> subprocess.Popen[bytes]:
    """Start a process; call it on a thread that lives on, for the kernel ends the process with that thread.

    Raises:
        SandboxUnavailableError: Deno can't be told of a path.
    """
    readable = ",".join(_listed(path) for path in (SCRIPTS, *task.readable))
    launch = {
        "parent": os.getpid(),
        "data_bytes": data_bytes(task.memory_bytes),
        "file_bytes": task.file_bytes,
        "command": [
            deno.binary, "run", *_CLOSED, f"--allow-read={readable}", str(SCRIPTS / task.script),
            json.dumps(dict(task.settings)),
        ],
    }  # fmt: skip
    return subprocess.Popen(  # noqa: S603 - this interpreter, with nothing from outside
        [sys.executable, "-I", "-S", "-c", _BOOTSTRAP.format(root=_ROOT, entry="main"), json.dumps(launch)],
        env=_ENVIRONMENT,
        cwd="/",
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        start_new_session=True,
    )


def following(deno: Deno) -> tuple[str, ...]:
    """The beginning of a command line that runs Deno with all rights of this user and ends with this process."""
    bootstrap = _BOOTSTRAP.format(root=_ROOT, entry="follow")
    return (sys.executable, "-I", "-S", "-c", bootstrap, str(os.getpid()), deno.binary)


def data_bytes(memory_bytes: int) -> int:
    """The limit on private data, in bytes, under which Python has `memory_bytes`."""
    return _BASE_BYTES + memory_bytes


def _listed(path: Path) -> str:
    """A path as an item of a comma-separated list of Deno's."""
    if "," in str(path):
        raise SandboxUnavailableError(f"Deno takes no path with a comma: {path}\nmove it, or name another folder")
    return str(path)
