"""One container: how it is made, hardened, started and ended, and what it is told before a REPL has it.

Every limit that is asked for must hold: an engine that would drop one is refused.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.repl import portable, spool_folders
from rlm.repl.docker import contexts, hardening
from rlm.repl.docker.channels import DockerChannel
from rlm.repl.docker.engines import Refused
from rlm.repl.docker.meters import AskedMeter, GroupMeter, group_file
from rlm.repl.docker.sweeping import remove
from rlm.repl.guest.wire import pack

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.config import DockerConfig
    from rlm.core.contexts.context import Context
    from rlm.repl.docker.contexts import ContextCopy
    from rlm.repl.docker.engines import DockerEngine
    from rlm.repl.docker.images import DockerImage
    from rlm.repl.shares import Shares

MOUNT = "/rlm"
_PORTABLE = ("rlm.repl.guest", "rlm.repl.guest.carry")
"""The packages of the guest half that travel into a container."""
_BOOT = portable.boot("from rlm.repl.guest.supervisor import main\nmain(float(sys.argv[2]))")
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""Sets come in the same order each time, so that a cell which is run again prints the same."""
_USER = "65534:65534"
_OWN_BYTES = 64 << 20
"""What the two interpreters in a container take."""
_FREE_CONTEXT_BYTES = 16 << 20
_WIDEST = {"text": 4, "files": 4, "value": 40}
"""The most bytes of memory for one byte of the encoded context: wide characters, and lists and dicts of nothing, of
which the guest notes what was in them."""
_START_TIMEOUT_S = 60.0
_CREATION_S = 10.0
"""Seconds to wait for a container that nobody wants any more, so that it can be removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What every container of one sandbox has in common."""

    section: DockerConfig
    image: DockerImage
    labels: dict[str, str]
    folder: Path
    """Holds the folder of each container."""
    context_bytes: int = 0
    """What a context may take above what is free for small ones."""


class Container:
    """Implements `ContainerEnd`: the container behind a channel."""

    def __init__(self, engine: DockerEngine, container: str, folder: Path) -> None:
        self.id = container
        self._engine = engine
        self._folder = folder
        self._meter: GroupMeter | AskedMeter | None = None
        self._is_removed = False

    async def start(self) -> None:
        """Start it. Raises:
        SandboxUnavailableError: it does not start; says why.
        """
        try:
            await self._engine.ask(lambda client: client.start(self.id))
        except Refused as e:
            raise SandboxUnavailableError(_start_refused(str(e))) from e

    async def find_meter(self) -> None:
        """Find out how its CPU time can be read."""
        state = await self._engine.ask(lambda client: client.inspect_container(self.id)["State"])
        file = group_file(state["Pid"], self.id)
        self._meter = AskedMeter(self._stats) if file is None else GroupMeter(file)
        if self._is_removed:  # meanwhile
            self._meter.close()

    async def allow(self, memory_bytes: int) -> None:
        """Change its limit of memory. Raises:
        Refused: its runtime can't do that.
        """
        limits = {"mem_limit": memory_bytes, "memswap_limit": memory_bytes}
        await self._engine.ask(lambda client: client.update_container(self.id, **limits))

    async def remove(self) -> None:
        if self._is_removed:
            return
        self._is_removed = True
        try:
            await self._engine.ask(partial(remove, container=self.id))
        finally:
            if self._meter is not None:
                self._meter.close()
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def cpu_s(self) -> float | None:
        return None if self._meter is None else self._meter.cpu_s()

    async def _stats(self) -> Any:
        return await self._engine.ask(lambda client: client.stats(self.id, stream=False, one_shot=True))


class WarmContainer:
    """A started container with a guest that waits to be told its context."""

    def __init__(
        self,
        channel: DockerChannel,
        container: Container,
        plan: ContainerPlan,
        folder: Path | None,
        *,
        is_filtered: bool,
    ) -> None:
        """`folder` is None where the engine doesn't see this machine's files."""
        self.channel = channel
        self._container = container
        self._plan = plan
        self._folder = folder
        self.is_filtered = is_filtered
        """The profile of system calls is in force; some runtimes have their own ways instead."""

    @property
    def is_alive(self) -> bool:
        return self.channel.is_alive

    @property
    def sees_files(self) -> bool:
        """It reads contexts from this machine's files."""
        return self._folder is not None

    async def grow(self, context_bytes: int) -> None:
        """Make room for a context that takes so much memory. Raises:
        Refused: the runtime can't do that to a container that runs.
        """
        await self._container.allow(_limit(replace(self._plan, context_bytes=context_bytes)))

    async def place(self, context: Context, copies: Shares[ContextCopy]) -> None:
        """Give it the context. Raises:
        REPLError: there is no room for it on the disk.
        """
        size = spool_folders.size_bytes(context)
        streamed = size if self._folder is None else 0
        if size and self._folder is not None:
            contexts.link(await copies.get(context), self._folder)
        placed = {"t": "place", "streamed_bytes": streamed, "memory_bytes": self._plan.section.memory_bytes}
        self.channel.send(pack(placed))
        if streamed:
            async for block in spool_folders.blocks(context):
                await self.channel.push(block)

    async def aclose(self) -> None:
        await self.channel.aclose()


def context_memory_bytes(context: Context) -> int:
    """What memory a container needs for a context beside its guest's own, at most; 0 if it fits what is free anyway."""
    size = spool_folders.size_bytes(context)
    if size * max(_WIDEST.values()) <= _FREE_CONTEXT_BYTES:
        return 0
    is_narrow = context.kind != "value" and context.chars == size
    return size + (size if is_narrow else size * _WIDEST[context.kind])  # as it came, and decoded


async def start(engine: DockerEngine, plan: ContainerPlan, *, mounts: bool) -> WarmContainer:
    """Start a container and wait until its guest is warm; `mounts`: the engine may see this machine's files.

    Raises:
        SandboxUnavailableError: it does not start; says why, and what to do.
    """
    mark = secrets.token_hex(16)
    try:
        folder = await asyncio.to_thread(_new_folder, plan, mark)
    except OSError as e:
        raise SandboxUnavailableError(f"no container can be given a folder in {plan.folder}: {e.strerror}") from e
    try:
        container = Container(engine, await _create(engine, plan, folder if mounts else None), folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        channel = await engine.open_stream(lambda: DockerChannel(container))
    except BaseException:
        await container.remove()
        raise
    try:
        said = await _woken(channel, container)
        _require_filter(plan, is_filtered=said["seccomp"])
    except BaseException:
        await channel.aclose()
        raise
    sees = mounts and said.get("mark") == mark
    return WarmContainer(channel, container, plan, folder if sees else None, is_filtered=said["seccomp"])


def _require_filter(plan: ContainerPlan, *, is_filtered: bool) -> None:
    if plan.section.runtime is None and not is_filtered:
        raise SandboxUnavailableError(
            "the engine does not filter system calls: it, or its kernel, lacks seccomp (`docker info` names it)\n"
            "use another engine, or set docker.runtime to one that has a boundary of its own, such as runsc"
        )


async def _woken(channel: DockerChannel, container: Container) -> dict[str, Any]:
    """The first message of a guest, once it is warm."""
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await channel.begin(container.id)
            await container.start()
            channel.send(portable.archive(_PORTABLE))
            with suppress(Refused):  # it has ended already: `warm` tells why
                await container.find_meter()
            return await channel.warm()
    except TimeoutError as e:
        raise SandboxUnavailableError(f"the container did not start within {_START_TIMEOUT_S:g} s") from e
    except SandboxUnavailableError:
        raise
    except REPLError as e:
        raise SandboxUnavailableError(f"the image's Python does not start a guest: {e}\n{_IMAGE_ADVICE}") from e


def _new_folder(plan: ContainerPlan, mark: str) -> Path:
    folder = plan.folder / secrets.token_hex(8)
    folder.mkdir()
    folder.chmod(0o755)  # whatever the umask: the container's user is another one
    path = folder / "mark"
    path.write_text(mark, encoding="ascii")
    path.chmod(0o444)
    return folder


async def _create(engine: DockerEngine, plan: ContainerPlan, folder: Path | None) -> str:
    try:
        answer = await _created(engine, plan, folder)
    except Refused as e:
        raise SandboxUnavailableError(_create_refused(str(e), plan)) from e
    try:
        hardening.require_limits(answer)
    except SandboxUnavailableError:
        await engine.ask(partial(remove, container=answer["Id"]))
        raise
    container: str = answer["Id"]
    return container


async def _created(engine: DockerEngine, plan: ContainerPlan, folder: Path | None) -> Any:
    """The engine's answer; what it makes for a caller that is cancelled meanwhile is removed."""
    creating = asyncio.ensure_future(engine.ask(partial(_ask_to_create, plan=plan, folder=folder)))
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        await asyncio.wait([creating], timeout=_CREATION_S)
        if creating.done() and creating.exception() is None:
            await engine.ask(partial(remove, container=creating.result()["Id"]))
        raise


def _ask_to_create(client: Any, plan: ContainerPlan, folder: Path | None) -> Any:
    return client.create_container(
        plan.image.id,
        # As -I would, but for the environment, of which one variable is wanted and no other of Python's given.
        entrypoint=["python3", "-s", "-P", "-S", "-c", _BOOT],
        environment={**{name: None for name in plan.image.variables if name.startswith("PYTHON")}, **_ENVIRONMENT},
        command=[str(len(portable.archive(_PORTABLE))), str(plan.section.ttl_s)],
        user=_USER,
        working_dir="/tmp",  # noqa: S108 - the container's own
        hostname="rlm",
        stdin_open=True,
        network_disabled=True,
        labels=plan.labels,
        healthcheck={"test": ["NONE"]},
        host_config=client.create_host_config(**_hardening(plan), mounts=_mounts(folder)),
        use_config_proxy=False,  # its credentials are the host's
    )


def _hardening(plan: ContainerPlan) -> dict[str, Any]:
    walls = hardening.hardened(
        memory_bytes=_limit(plan),
        cpus=plan.section.cpus,
        pids=plan.section.pids,
        security=(f"seccomp={_seccomp()}",),
    )
    files = {"Name": "nofile", "Soft": 1024, "Hard": 1024}
    return {
        **walls,
        **hardening.no_network(),
        "runtime": plan.section.runtime,
        "tmpfs": _tmpfs(plan),
        "ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}, files],
    }


def _limit(plan: ContainerPlan) -> int:
    """The container's limit of memory: above the guest's own, so that it is the guest that runs into one."""
    return plan.section.memory_bytes + plan.section.tmp_bytes + _OWN_BYTES + _FREE_CONTEXT_BYTES + plan.context_bytes


def _tmpfs(plan: ContainerPlan) -> dict[str, str]:
    """The one place to write to, and nothing in place of the image's volumes, which would be others."""
    closed = {volume: "ro,noexec,nosuid,nodev,size=4k" for volume in plan.image.volumes if volume != MOUNT}
    return {**closed, "/tmp": f"rw,noexec,nosuid,nodev,size={plan.section.tmp_bytes},mode=1777"}  # noqa: S108 - the container's own


def _mounts(folder: Path | None) -> list[dict[str, Any]]:
    if folder is None:
        return []
    options = {"Propagation": "private"}
    return [{"Type": "bind", "Source": str(folder), "Target": MOUNT, "ReadOnly": True, "BindOptions": options}]


@cache
def _seccomp() -> str:
    profile = json.loads(files("rlm.repl.docker").joinpath("seccomp.json").read_bytes())
    return json.dumps(profile, separators=(",", ":"))


_IMAGE_ADVICE = "docker.image needs Python 3.11 or later as python3, such as python:3.11-slim"


def _create_refused(why: str, plan: ContainerPlan) -> str:
    if plan.section.runtime is not None and "runtime" in why:
        return (
            f"the engine has no runtime {plan.section.runtime!r} ({why})\n"
            "name it in the engine's daemon.json, or unset docker.runtime"
        )
    return f"the engine refuses the container: {why}"


def _start_refused(why: str) -> str:
    if "executable file not found" in why or "no such file or directory" in why:
        return f"the image has no python3 in its PATH\n{_IMAGE_ADVICE}"
    return f"the container does not start: {why}"
