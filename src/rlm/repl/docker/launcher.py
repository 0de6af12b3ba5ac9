"""The sandbox `docker`: each REPL is a guest in a hardened container of its own, on this machine's engine or another.

Nothing is installed or mounted there but an empty folder: the guest half travels over the container's stdin. A few
containers wait, warm, for whatever context comes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLError, RLMError, SandboxUnavailableError
from rlm.core.types import Traits
from rlm.repl import spool_folders
from rlm.repl.docker import containers, contexts, images
from rlm.repl.docker.containers import ContainerPlan, WarmContainer
from rlm.repl.docker.engines import DockerEngine, Refused
from rlm.repl.docker.sweeping import Estate, remove_all_of, sweep_containers
from rlm.repl.pool import WarmPool
from rlm.repl.sandbox import Kind, Probe
from rlm.repl.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.config import DockerConfig
    from rlm.core.contexts.context import Context
    from rlm.core.types import Json
    from rlm.repl.docker.channels import DockerChannel

_log = logging.getLogger(__name__)
_LEFT_S = 10.0
"""Seconds that the engine may take to say that nothing is left; after that it is left to the watchdog."""
_LAYERS = ("container", "network none", "capabilities", "read-only files", "limits", "user")
_NOT_FOUND = 404


class DockerLauncher:
    """Implements `Launcher`: an engine, what this host owns there, and containers that wait for a context."""

    def __init__(self, engine: DockerEngine, plan: ContainerPlan, estate: Estate) -> None:
        self._engine = engine
        self._plan = plan
        self._estate = estate
        self._copies = Shares(partial(contexts.copy, estate.folder.path))
        self._pool = WarmPool(lambda: self._start_one(plan), size=plan.section.warm)
        self._mounts = True
        self._can_grow = True
        self._layers: tuple[str, ...] = ()

    @classmethod
    async def start(cls, section: DockerConfig) -> DockerLauncher:
        """Reach the engine, get the image, sweep, and start a container; see `Kind.start`."""
        engine = await DockerEngine.connect()
        try:
            await engine.ask(sweep_containers)
            image = await images.find(engine, section.image)
            estate = await Estate.found()
        except BaseException:
            await engine.aclose()
            raise
        plan = ContainerPlan(section=section, image=image, labels=estate.owner.labels, folder=estate.folder.path)
        launcher = cls(engine, plan, estate)
        try:
            await launcher._pool.ready()
        except BaseException:
            await launcher.aclose()
            raise
        return launcher

    @property
    def traits(self) -> Traits:
        return Traits(threads=True, shared_context=False, policy=False, layers=self._layers)

    @property
    def is_alive(self) -> bool:
        """An engine that is gone may come back."""
        return True

    def init(self, context: Context) -> Mapping[str, Json]:
        missing = "the image of the sandbox has no such package; the user can name one that has it: docker.image"
        return {"policy": "off", "imports": [], "context": spool_folders.note(context), "missing": missing}

    async def launch(self, context: Context) -> DockerChannel:
        taken = await self._take(containers.context_memory_bytes(context))
        try:
            await taken.place(context, self._copies)
        except BaseException:
            await taken.aclose()
            raise
        return taken.channel

    async def forget(self, context: Context) -> None:
        """Remove the copy of the context; containers keep their links to it."""
        await self._copies.forget(context)

    async def aclose(self) -> None:
        """End every container, those that are being started too, and leave the engine."""
        left_nothing = False
        try:
            await self._pool.aclose()
            async with asyncio.timeout(_LEFT_S):
                await self._engine.ask(partial(remove_all_of, owner_id=self._estate.owner.id))
            left_nothing = self._engine.is_quiet  # else something may yet be made
        except (REPLError, TimeoutError) as e:
            _log.warning("containers may be left for the watchdog to remove: %s", str(e) or "the engine keeps silent")
        finally:
            await asyncio.to_thread(self._estate.leave, has_left_nothing=left_nothing)
            await self._engine.aclose()

    async def _start_one(self, plan: ContainerPlan) -> WarmContainer:
        """Start one; where the engine does not see this machine's files, remember that."""
        try:
            started = await containers.start(self._engine, plan, mounts=self._mounts)
        except SandboxUnavailableError as e:
            if not (self._mounts and "bind source path" in str(e)):
                raise
            self._mounts = False
            started = await containers.start(self._engine, plan, mounts=False)
        self._mounts = started.sees_files
        self._layers = _layers(plan.section.runtime, is_filtered=started.is_filtered)
        return started

    async def _take(self, context_bytes: int) -> WarmContainer:
        """A container with memory for the context: one that waits, unless its runtime lets none grow."""
        if self._can_grow or not context_bytes:
            taken = await self._pool.take()
            if not context_bytes or await _has_grown(taken, context_bytes):
                return taken
            self._can_grow = False
        return await self._start_one(replace(self._plan, context_bytes=context_bytes))


async def _has_grown(taken: WarmContainer, context_bytes: int) -> bool:
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


def _layers(runtime: str | None, *, is_filtered: bool) -> tuple[str, ...]:
    named = () if runtime is None else (f"runtime {runtime}",)
    return (*_LAYERS, *(("seccomp",) if is_filtered else ()), *named)


async def _probe(section: DockerConfig) -> Probe:
    """Ask the engine for its version and for the image."""
    try:
        engine, image = await _engine_and_image(section.image)
    except RLMError as error:
        if isinstance(error, Refused) and error.status == _NOT_FOUND:
            pull = f"get it: docker pull {section.image}; or set docker.image to one that has Python 3.11 or later"
            return Probe(ok=False, detail=f"no image {section.image}", hint=pull)
        detail, _, hint = str(error).partition("\n")
        return Probe(ok=False, detail=detail, hint=hint)
    return Probe(ok=True, detail=f"{engine}; image {section.image} ({image[:19]})")


async def _engine_and_image(image: str) -> tuple[str, str]:
    """The engine in words, and the id of the image."""
    engine = await DockerEngine.connect()
    try:
        version = await engine.ask(lambda client: str(client.version()["Version"]))
        found = await engine.ask(lambda client: str(client.inspect_image(image)["Id"]))
    finally:
        await engine.aclose()
    return f"engine {version} at {engine.address.shown}", found


DOCKER = Kind(name="docker", section=lambda config: config.docker, start=DockerLauncher.start, probe=_probe)
