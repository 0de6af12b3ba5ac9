"""The sandbox `wasm`: Python compiled to WebAssembly (Pyodide) in Deno, one process for each REPL.

Two walls stand around guest code: WebAssembly, which gives it no system calls, and Deno's permissions, all denied.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.config.files import user_folder
from rlm.core.exceptions import RLMError, SandboxUnavailableError
from rlm.core.types import Traits
from rlm.repl import spool_folders
from rlm.repl.guest.linux.confine import Layer
from rlm.repl.host import HostedRepl, Start
from rlm.repl.live import Limits
from rlm.repl.pool import WarmPool
from rlm.repl.wasm import deno_runtime, processes, pyodide_files, snapshots, wheelhouse
from rlm.repl.wasm.processes import DenoPlan, WasmProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec
    from rlm.repl.forked import ForkedChannel
    from rlm.repl.wasm.deno_runtime import Deno
    from rlm.repl.wasm.pyodide_files import Pyodide

_log = logging.getLogger(__name__)
_LAYERS = ("webassembly", "deno", "limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmSettings:
    """What WASM REPLs are made of and what they may take."""

    pyodide_dir: Path | None = None
    """None: the cache, filled at first use."""
    packages: tuple[str, ...] = ()
    """Wheels, or names of which `wheels` has one."""
    wheels: Path | None = None
    memory_bytes: int = 1 << 30
    """Of one REPL, above its context."""
    warm: int = 1
    """Processes kept started ahead of need."""
    limits: Limits = field(default_factory=Limits)
    """Of one cell."""
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """Where the cache is, and how the registry is reached; guests get none of it."""


class WasmSandbox:
    """Opens REPLs in Deno processes; one instance belongs to one event loop."""

    def __init__(self, settings: WasmSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._pool: WarmPool[WasmProcess] | None = None
        self._repls: set[HostedRepl] = set()

    @classmethod
    def from_config(cls, config: Config) -> WasmSandbox:
        """The sandbox as `[wasm]` and the cell settings ask for it."""
        return cls(settings_of(config))

    @property
    def traits(self) -> Traits:
        return Traits(threads=False, shared_context=False, policy=False, layers=_LAYERS)

    async def start(self) -> None:
        """Get Pyodide and the snapshot where they are not there yet, and start processes; see `Sandbox.start`."""
        await self._started_pool()

    async def open(self, context: Context, spec: ReplSpec) -> HostedRepl:
        """Open a REPL; see `Sandbox.open`."""
        pool = await self._started_pool()
        start = Start(
            launch=lambda: _launch(pool, context),
            init={"policy": "off", "imports": [], "context": spool_folders.note(context)},
            release=self._forget_closed,
        )
        repl = HostedRepl(start, context, spec, self._settings.limits)
        self._repls.add(repl)
        try:
            await repl.open()
        except BaseException:
            await repl.aclose()
            raise
        return repl

    async def aclose(self) -> None:
        """End every REPL and every process; idempotent."""
        try:
            await asyncio.gather(*(repl.aclose() for repl in list(self._repls)))
        finally:
            if self._pool is not None:
                await self._pool.aclose()

    async def _started_pool(self) -> WarmPool[WasmProcess]:
        async with self._lock:
            if self._pool is None:
                plan = await _plan(self._settings)
                pool = WarmPool(lambda: WasmProcess.start(plan), size=self._settings.warm)
                try:
                    await pool.ready()  # nobody is told that it works here before it does
                except BaseException:
                    await pool.aclose()
                    raise
                self._pool = pool
            return self._pool

    async def _forget_closed(self) -> None:
        self._repls = {repl for repl in self._repls if not repl.is_closed}


def settings_of(config: Config) -> WasmSettings:
    """What the configuration says of this sandbox."""
    section = config.wasm
    return WasmSettings(
        pyodide_dir=None if section.pyodide_dir is None else Path(section.pyodide_dir).absolute(),
        packages=section.packages,
        wheels=None if section.wheels is None else Path(section.wheels),
        memory_bytes=section.memory_bytes,
        warm=section.warm,
        limits=Limits(cell_timeout_s=config.cell_timeout_s),
    )


def probe(settings: WasmSettings) -> tuple[Layer, ...]:
    """What is there and what is missing, without fetching, building or starting anything."""
    try:
        deno = deno_runtime.find()
    except SandboxUnavailableError as e:
        return (Layer(name="deno", active=False, detail=str(e)),)
    found = [Layer(name="deno", active=True, detail=f"{deno.version}, {deno.binary}")]
    try:
        pyodide = _pyodide_there(settings)
        if pyodide is None:
            return (*found, Layer(name="pyodide", active=False, detail="not fetched yet: the first use does"))
        found.append(Layer(name="pyodide", active=True, detail=f"{pyodide.version}, {pyodide.folder}"))
        snapshot = snapshots.find(_cache(settings), deno, pyodide)
        detail = "not made yet: the first use does" if snapshot is None else str(snapshot)
        found.append(Layer(name="snapshot", active=snapshot is not None, detail=detail))
        wheels = wheelhouse.find(settings.packages, settings.wheels, pyodide)
    except RLMError as e:
        return (*found, Layer(name="wasm", active=False, detail=str(e)))
    return (*found, *(Layer(name="wheel", active=True, detail=wheel.name) for wheel in wheels))


async def _launch(pool: WarmPool[WasmProcess], context: Context) -> ForkedChannel:
    return await (await pool.take()).give(context)


async def _plan(settings: WasmSettings) -> DenoPlan:
    deno = deno_runtime.find()
    await asyncio.to_thread(spool_folders.sweep, processes.SPOOL_PREFIX)
    pyodide = await _pyodide(settings, deno)
    wheels = wheelhouse.find(settings.packages, settings.wheels, pyodide)
    return DenoPlan(
        deno=deno,
        pyodide=pyodide.folder,
        snapshot=await _snapshot(settings, deno, pyodide),
        wheels=wheels,
        memory_bytes=settings.memory_bytes,
    )


async def _pyodide(settings: WasmSettings, deno: Deno) -> Pyodide:
    pyodide = await asyncio.to_thread(_pyodide_there, settings)
    if pyodide is None:
        _log.warning("fetching Pyodide %s, once, into %s", pyodide_files.VERSION, _cache(settings))
        pyodide = await pyodide_files.fetch(_cache(settings), deno, settings.environ)
    return pyodide


def _pyodide_there(settings: WasmSettings) -> Pyodide | None:
    if settings.pyodide_dir is not None:
        return pyodide_files.given(settings.pyodide_dir)
    return pyodide_files.cached(_cache(settings))


async def _snapshot(settings: WasmSettings, deno: Deno, pyodide: Pyodide) -> Path:
    cache = _cache(settings)
    path = await asyncio.to_thread(snapshots.find, cache, deno, pyodide)
    if path is None:
        _log.warning("preparing Python in WebAssembly, once, some seconds; it is kept in %s", cache)
        path = await snapshots.build(cache, deno, pyodide)
    return path


def _cache(settings: WasmSettings) -> Path:
    folder = user_folder(settings.environ, "XDG_CACHE_HOME", ".cache")
    if folder is None:
        raise SandboxUnavailableError(
            "there is no home for the sandbox wasm to keep Pyodide in\nset HOME or XDG_CACHE_HOME"
        )
    pyodide_files.refuse_foreign(folder / "wasm")
    return folder / "wasm"
