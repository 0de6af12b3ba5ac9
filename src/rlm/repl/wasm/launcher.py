"""The sandbox `wasm`: Python compiled to WebAssembly (Pyodide) in Deno, one process for each REPL.

Two walls stand around guest code: WebAssembly, which gives it no system calls, and Deno's permissions, all denied.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.config.files import user_folder
from rlm.core.exceptions import RLMError, SandboxUnavailableError
from rlm.core.types import Traits
from rlm.repl import spool_folders
from rlm.repl.guest.linux.confine import Layer
from rlm.repl.pool import WarmPool
from rlm.repl.sandbox import Kind, Probe
from rlm.repl.wasm import deno_runtime, pyodide_files, snapshots, wheelhouse
from rlm.repl.wasm.processes import DenoPlan, WasmProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.config import WasmConfig
    from rlm.core.contexts.context import Context
    from rlm.core.types import Json
    from rlm.repl.forked import ForkedChannel
    from rlm.repl.wasm.deno_runtime import Deno
    from rlm.repl.wasm.pyodide_files import Pyodide

_log = logging.getLogger(__name__)
_LAYERS = ("webassembly", "deno", "limits")
_FIRST_USE = "rlm exec --env wasm -c 1"
"""What fetches and makes all that the first use needs."""


class WasmLauncher:
    """Implements `Launcher`: Deno processes that wait for a context."""

    def __init__(self, plan: DenoPlan, warm: int) -> None:
        """`warm` processes are kept started ahead of need."""
        self._pool = WarmPool(lambda: WasmProcess.start(plan), size=warm)

    @classmethod
    async def start(cls, section: WasmConfig) -> WasmLauncher:
        """Get Pyodide and the snapshot where they are not there yet, and start a process; see `Kind.start`."""
        launcher = cls(await _plan(section, os.environ), section.warm)
        try:
            await launcher._pool.ready()  # nobody is told that it works here before it does
        except BaseException:
            await launcher.aclose()
            raise
        return launcher

    @property
    def traits(self) -> Traits:
        return Traits(threads=False, shared_context=False, policy=False, layers=_LAYERS)

    @property
    def is_alive(self) -> bool:
        """Each guest has a process of its own; nothing is common to them."""
        return True

    def init(self, context: Context) -> Mapping[str, Json]:
        missing = "the sandbox has no such package; the user can add it: rlm wasm add PACKAGE"
        return {"policy": "off", "imports": [], "context": spool_folders.note(context), "missing": missing}

    async def launch(self, context: Context) -> ForkedChannel:
        return await (await self._pool.take()).give(context)

    async def forget(self, context: Context) -> None:
        """Each guest has a copy of its own."""

    async def aclose(self) -> None:
        """End the processes that wait."""
        await self._pool.aclose()


async def _probe(section: WasmConfig) -> Probe:
    """Look for Deno, Pyodide, the snapshot and the wheels."""
    layers = tuple(_layers(section, os.environ))
    broken = next((layer for layer in layers if not layer.active), None)
    if broken is None:
        return Probe(ok=True, detail="everything is here", layers=layers)
    hint = f"to have it now: {_FIRST_USE}" if broken.name in ("pyodide", "snapshot") else ""
    return Probe(ok=False, detail=f"{broken.name} is missing", hint=hint, layers=layers)


def _layers(section: WasmConfig, environ: Mapping[str, str]) -> Iterator[Layer]:
    """What is there, up to the first part that is missing."""
    try:
        deno = deno_runtime.find()
    except SandboxUnavailableError as e:
        yield Layer(name="deno", active=False, detail=str(e))
        return
    yield Layer(name="deno", active=True, detail=f"{deno.version}, {deno.binary}")
    try:
        pyodide = _pyodide_there(section, environ)
        if pyodide is None:
            yield Layer(name="pyodide", active=False, detail="not fetched yet: the first use does")
            return
        yield Layer(name="pyodide", active=True, detail=f"{pyodide.version}, {pyodide.folder}")
        snapshot = snapshots.find(_cache(environ), deno, pyodide)
        detail = "not made yet: the first use does" if snapshot is None else str(snapshot)
        yield Layer(name="snapshot", active=snapshot is not None, detail=detail)
        wheels = _wheels(section, pyodide)
    except RLMError as e:
        yield Layer(name="wasm", active=False, detail=str(e))
        return
    yield from (Layer(name="wheel", active=True, detail=wheel.name) for wheel in wheels)


async def _plan(section: WasmConfig, environ: Mapping[str, str]) -> DenoPlan:
    deno = deno_runtime.find()
    pyodide = await _pyodide(section, deno, environ)
    wheels = _wheels(section, pyodide)
    return DenoPlan(
        deno=deno,
        pyodide=pyodide.folder,
        snapshot=await _snapshot(_cache(environ), deno, pyodide),
        wheels=wheels,
        memory_bytes=section.memory_bytes,
    )


def _wheels(section: WasmConfig, pyodide: Pyodide) -> tuple[Path, ...]:
    return wheelhouse.find(section.packages, None if section.wheels is None else Path(section.wheels), pyodide)


async def pyodide_of(section: WasmConfig, environ: Mapping[str, str]) -> Pyodide:
    """The Pyodide that sandboxes of this section run on, fetched at first use.

    Raises:
        SandboxUnavailableError: it, or Deno, can't be had.
    """
    return await _pyodide(section, deno_runtime.find(), environ)


async def _pyodide(section: WasmConfig, deno: Deno, environ: Mapping[str, str]) -> Pyodide:
    pyodide = await asyncio.to_thread(_pyodide_there, section, environ)
    if pyodide is None:
        _log.warning("fetching Pyodide %s, once, into %s", pyodide_files.VERSION, _cache(environ))
        pyodide = await pyodide_files.fetch(_cache(environ), deno, environ)
    return pyodide


def _pyodide_there(section: WasmConfig, environ: Mapping[str, str]) -> Pyodide | None:
    if section.pyodide_dir is not None:
        return pyodide_files.given(Path(section.pyodide_dir).absolute())
    return pyodide_files.cached(_cache(environ))


async def _snapshot(cache: Path, deno: Deno, pyodide: Pyodide) -> Path:
    path = await asyncio.to_thread(snapshots.find, cache, deno, pyodide)
    if path is None:
        _log.warning("preparing Python in WebAssembly, once, some seconds; it is kept in %s", cache)
        path = await snapshots.build(cache, deno, pyodide)
    return path


def _cache(environ: Mapping[str, str]) -> Path:
    folder = user_folder(environ, "XDG_CACHE_HOME", ".cache")
    if folder is None:
        raise SandboxUnavailableError("the sandbox wasm has nowhere to keep Pyodide\nset HOME or XDG_CACHE_HOME")
    pyodide_files.refuse_foreign(folder / "wasm")
    return folder / "wasm"


WASM = Kind(name="wasm", section=lambda config: config.wasm, start=WasmLauncher.start, probe=_probe)
