"""What the tests of the sandbox `wasm` share: Pyodide from the user's cache, and REPLs in a sandbox that ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rlm.core.contexts.context import Context
from rlm.core.interfaces import Repl
from rlm.core.types import ReplSpec
from rlm.repl.wasm import pyodide_files
from rlm.repl.wasm.sandbox import WasmSandbox, WasmSettings
from rlm.runtime.inputs import prepare


async def no_answer(*_call: object) -> None:
    return None


@asynccontextmanager
async def opened(context: Any = None, **settings: Any) -> AsyncIterator[Repl]:
    """A REPL in a sandbox of its own."""
    sandbox = WasmSandbox(WasmSettings(**settings))
    try:
        given = context if isinstance(context, Context) else prepare(context)
        yield await sandbox.open(given, ReplSpec(call=no_answer, functions=("ask",)))
    finally:
        await sandbox.aclose()


async def copied_pyodide(folder: Path) -> Path:
    """A copy of Pyodide's files, to be spoilt; fetched by the sandbox itself where the cache lacks them."""
    sandbox = WasmSandbox(WasmSettings(warm=0))
    await sandbox.start()
    await sandbox.aclose()
    source = pyodide_files.place(cache(dict(os.environ)))
    shutil.copytree(source, folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def cache(environ: dict[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME") or f"{environ['HOME']}/.cache"
    return Path(base) / "rlm" / "wasm"


def home(folder: Path) -> dict[str, str]:
    """An environment whose cache is empty, and from which no registry can be reached."""
    return {"HOME": str(folder), "NPM_CONFIG_REGISTRY": "http://127.0.0.1:9/"}
