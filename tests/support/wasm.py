"""What the tests of the sandbox `wasm` share: folders with Pyodide to be spoilt, and REPLs in a sandbox that ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rlm.core.config import WasmConfig
from rlm.core.contexts.context import Context
from rlm.core.interfaces import Repl
from rlm.core.types import ReplSpec
from rlm.repl.wasm import deno_runtime, pyodide_files, snapshots
from rlm.repl.wasm.launcher import WASM
from rlm.runtime.inputs import prepare


async def no_answer(*_call: object) -> None:
    return None


@asynccontextmanager
async def opened(context: Any = None, environ: Mapping[str, str] | None = None, **settings: Any) -> AsyncIterator[Repl]:
    """A REPL in a sandbox of its own, which starts no process ahead of need unless `warm` says so.

    It is started with the environment variables `environ` alone, if they are given.
    """
    sandbox = WASM.sandbox(WasmConfig(**{"warm": 0, **settings}))
    try:
        given = context if isinstance(context, Context) else prepare(context)
        with variables(environ):
            await sandbox.start()
        yield await sandbox.open(given, ReplSpec(call=no_answer, functions=("ask",)))
    finally:
        await sandbox.aclose()


@contextmanager
def variables(environ: Mapping[str, str] | None) -> Iterator[None]:
    """The environment of this process is `environ` for a while; None changes nothing."""
    with patch.dict(os.environ, environ or {}, clear=environ is not None):
        yield


def linked(source: Path, folder: Path) -> Path:
    """A folder with the same files as `source`, which takes no room: only `rewrite` may change one."""
    return Path(shutil.copytree(source, folder, copy_function=os.link))


def rewrite(file: Path, content: bytes) -> None:
    """Give a file of a linked folder content of its own; other folders keep theirs."""
    file.unlink()
    file.write_bytes(content)


def damaged_snapshot(folder: Path, theirs: Path) -> Path:
    """Put this user's snapshot for the Pyodide in `folder`, cut off, into the cache `theirs`."""
    deno, pyodide = deno_runtime.find(), pyodide_files.given(folder)
    whole = snapshots.find(cache(os.environ), deno, pyodide)
    assert whole is not None
    theirs.mkdir(mode=0o700, parents=True)
    copied = Path(shutil.copyfile(whole, theirs / whole.name))
    assert snapshots.find(theirs, deno, pyodide) == copied
    os.truncate(copied, 1_000_000)
    return copied


def cache(environ: Mapping[str, str]) -> Path:
    """The folder where the sandbox keeps Pyodide and its snapshots."""
    base = environ.get("XDG_CACHE_HOME") or f"{environ['HOME']}/.cache"
    return Path(base) / "rlm" / "wasm"


def home(folder: Path) -> dict[str, str]:
    """An environment whose cache is empty, and from which no registry can be reached."""
    return {"HOME": str(folder), "NPM_CONFIG_REGISTRY": "http://127.0.0.1:9/"}
