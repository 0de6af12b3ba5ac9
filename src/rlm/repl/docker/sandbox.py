"""The sandbox `docker`: each REPL is a guest in a hardened container of its own, on this machine's engine or another.

Nothing is installed or mounted there but an empty folder: the guest half travels over the container's stdin. A few
containers wait, warm, for whatever context comes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.core.types import Traits
from rlm.repl import spool_folders
from rlm.repl.docker import containers, images
from rlm.repl.docker.containers import ContainerPlan, WarmContainer
from rlm.repl.docker.contexts import ContextFiles
from rlm.repl.docker.engines import Engine, Refused
from rlm.repl.docker.sweeping import Estate, remove_all_of, sweep_containers
from rlm.repl.host import HostedRepl, Start
from rlm.repl.live import Limits
from rlm.repl.pool import WarmPool

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec
    from rlm.repl.docker.channels import DockerChannel
    from rlm.repl.docker.images import DockerImage

_log = logging.getLogger(__name__)
_LEFT_S = 10.0
"""How long the engine may take to say that nothing is left, before that is the watchdog's business."""
_LAYERS = ("container", "network none", "capabilities", "read-only files", "limits", "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """What containers are made of and what they may take."""

    image: str = "python:3.11-slim"
    runtime: str | None = None
    """None: the engine's default."""
    cpus: float = 1.0
    memory_bytes: int = 1 << 30
    """Of one REPL, above its context."""
    tmp_bytes: int = 64 << 20
    pids: int = 128
    """Processes and threads of one container."""
    warm: int = 1
    """Containers kept started ahead of need."""
    ttl_s: float = 43_200.0
    """The longest that a container lives."""
    limits: Limits = field(default_factory=Limits)
    """Of one cell."""


@dataclass(slots=True, kw_only=True)
class _Running:
    """What a started sandbox has."""

    engine: Engine
    plan: ContainerPlan
    estate: Estate
    contexts: ContextFiles
    pool: WarmPool[WarmContainer]

    async def aclose(self) -> None:
        left_nothing = False
        try:
            await self.pool.aclose()
            async with asyncio.timeout(_LEFT_S):
                await self.engine.ask(partial(remove_all_of, owner_id=self.estate.owner.id))
            left_nothing = self.engine.is_quiet  # else something may yet be made
        except (REPLError, TimeoutError) as e:
            _log.warning("containers may be left for the watchdog to remove: %s", str(e) or "the engine keeps silent")
        finally:
            await asyncio.to_thread(self.estate.leave, has_left_nothing=left_nothing)
            await self.engine.aclose()


class DockerSandbox:
    """Opens REPLs in containers; one instance belongs to one event loop."""

    def __init__(self, settings: DockerSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._running: _Running | None = None
        self._mounts = True
        self._can_grow = True
        self._layers: tuple[str, ...] = ()
        self._repls: set[HostedRepl] = set()
        self._is_closed = False

    @classmethod
    def from_config(cls, config: Config) -> DockerSandbox:
        """The sandbox as `[docker]` and the cell settings ask for it."""
        return cls(settings_of(config))

    @property
    def traits(self) -> Traits:
        return Traits(threads=True, shared_context=False, policy=False, layers=self._layers)

    async def start(self) -> None:
        """Reach the engine, get the image, sweep, and start containers; see `Sandbox.start`."""
        await self._started()

    async def open(self, context: Context, spec: ReplSpec) -> HostedRepl:
        """Open a REPL; see `Sandbox.open`."""
        running = await self._started()
        start = Start(
            launch=lambda: self._launch(running, context),
            init={"policy": "off", "imports": [], "context": spool_folders.note(context)},
            release=lambda: self._release(running, context),
        )
        repl = HostedRepl(start, context, spec, self._settings.limits)
        running.contexts.hold(context)
        self._repls.add(repl)
        try:
            await repl.open()
        except BaseException:
            await repl.aclose()
            raise
        return repl

    async def aclose(self) -> None:
        """End every REPL and every container, those that are being started too; idempotent."""
        self._is_closed = True
        try:
            await asyncio.gather(*(repl.aclose() for repl in list(self._repls)))
        finally:
            running, self._running = self._running, None
            if running is not None:
                await running.aclose()

    async def _started(self) -> _Running:
        async with self._lock:
            self._refuse_if_closed()
            if self._running is None:
                running = await self._run()
                try:
                    await running.pool.ready()
                    self._refuse_if_closed()  # while it started
                except BaseException:
                    await running.aclose()
                    raise
                self._running = running
            return self._running

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise REPLError("the sandbox docker is closed")

    async def _run(self) -> _Running:
        engine = await Engine.connect()
        try:
            await engine.ask(sweep_containers)
            image = await images.find(engine, self._settings.image)
            estate = await Estate.found()
        except BaseException:
            await engine.aclose()
            raise
        plan = _plan(self._settings, image, estate)
        return _Running(
            engine=engine,
            plan=plan,
            estate=estate,
            contexts=ContextFiles(estate.folder.path),
            pool=WarmPool(lambda: self._start_one(engine, plan), size=self._settings.warm),
        )

    async def _start_one(self, engine: Engine, plan: ContainerPlan) -> WarmContainer:
        """Start one; where the engine does not see this machine's files, remember that."""
        try:
            started = await containers.start(engine, plan, mounts=self._mounts)
        except SandboxUnavailableError as e:
            if not (self._mounts and "bind source path" in str(e)):
                raise
            self._mounts = False
            started = await containers.start(engine, plan, mounts=False)
        self._mounts = started.sees_files
        self._layers = _layers(self._settings.runtime, is_filtered=started.is_filtered)
        return started

    async def _launch(self, running: _Running, context: Context) -> DockerChannel:
        taken = await self._take(running, containers.context_memory_bytes(context))
        try:
            await taken.place(context, running.contexts)
        except BaseException:
            await taken.aclose()
            raise
        return taken.channel

    async def _take(self, running: _Running, context_bytes: int) -> WarmContainer:
        """A container with memory for the context: one that waits, unless its runtime lets none grow."""
        if self._can_grow or not context_bytes:
            taken = await running.pool.take()
            if not context_bytes or await self._has_grown(taken, context_bytes):
                return taken
            self._can_grow = False
        return await self._start_one(running.engine, replace(running.plan, context_bytes=context_bytes))

    async def _has_grown(self, taken: WarmContainer, context_bytes: int) -> bool:
        """Make room in it; it is ended if its runtime can't."""
        try:
            await taken.grow(context_bytes)
        except Refused:
            await taken.aclose()
            return False
        except BaseException:
            await taken.aclose()
            raise
        return True

    async def _release(self, running: _Running, context: Context) -> None:
        self._repls = {repl for repl in self._repls if not repl.is_closed}
        running.contexts.release(context)


def settings_of(config: Config) -> DockerSettings:
    """What the configuration says of this sandbox."""
    section = config.docker
    return DockerSettings(
        image=section.image,
        runtime=section.runtime,
        cpus=section.cpus,
        memory_bytes=section.memory_bytes,
        tmp_bytes=section.tmp_bytes,
        pids=section.pids,
        warm=section.warm,
        ttl_s=section.ttl_s,
        limits=Limits(cell_timeout_s=config.cell_timeout_s),
    )


def _layers(runtime: str | None, *, is_filtered: bool) -> tuple[str, ...]:
    named = () if runtime is None else (f"runtime {runtime}",)
    return (*_LAYERS, *(("seccomp",) if is_filtered else ()), *named)


def _plan(settings: DockerSettings, image: DockerImage, estate: Estate) -> ContainerPlan:
    return ContainerPlan(
        image=image,
        cpus=settings.cpus,
        memory_bytes=settings.memory_bytes,
        tmp_bytes=settings.tmp_bytes,
        pids=settings.pids,
        runtime=settings.runtime,
        ttl_s=settings.ttl_s,
        labels=estate.owner.labels,
        folder=estate.folder.path,
    )
