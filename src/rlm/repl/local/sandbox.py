"""The sandbox `local`: confined processes of this machine, forked from zygotes.

A zygote that holds a context serves the REPLs of that context only; the base zygote holds none.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError, REPLError, RLMError, SandboxUnavailableError
from rlm.core.types import Traits
from rlm.repl.forked import ForkedChannel
from rlm.repl.guest.linux.confine import Layer, missing
from rlm.repl.host import HostedRepl, Start
from rlm.repl.live import Limits
from rlm.repl.local.zygotes import HostZygote

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec

_INSTEAD = (
    'Use another sandbox (environment = "docker" or "wasm"), or, for code that you would run by hand, set '
    "local.allow_unconfined = true. `rlm doctor` lists the layers."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How local REPLs are confined and what they may take."""

    policy: str = "relaxed"
    """strict, relaxed or off."""
    allowed_imports: tuple[str, ...] = ()
    allow_unconfined: bool = False
    """Run even without Landlock or seccomp."""
    memory_bytes: int = 1 << 30
    """Of one REPL, above its context."""
    limits: Limits = field(default_factory=Limits)
    """Of one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinementReport:
    """What confinement this system offers."""

    system: str
    """Kernel and architecture."""
    layers: tuple[Layer, ...]


@dataclass(slots=True, kw_only=True)
class _Share:
    """A context, the zygote that holds it, and how many REPLs use it."""

    users: int = 0
    zygote: HostZygote | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class LocalSandbox:
    """Opens REPLs on this machine; one instance belongs to one event loop."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._base: HostZygote | None = None
        self._shares: dict[Context, _Share] = {}
        self._repls: set[HostedRepl] = set()
        self.layers: tuple[Layer, ...] = ()
        """What confines the guests; known once started."""

    @classmethod
    def from_config(cls, config: Config) -> LocalSandbox:
        """The sandbox as `[local]` and the cell settings ask for it."""
        return cls(
            LocalSettings(
                policy=config.local.policy,
                allowed_imports=config.local.allowed_imports,
                allow_unconfined=config.local.allow_unconfined,
                memory_bytes=config.local.memory_bytes,
                limits=Limits(cell_timeout_s=config.cell_timeout_s),
            )
        )

    @property
    def traits(self) -> Traits:
        return Traits(
            threads=True,
            shared_context=True,
            policy=self._settings.policy != "off",
            layers=tuple(layer.name for layer in self.layers if layer.active),
        )

    async def start(self) -> None:
        """Start the base zygote, unless it runs already; see `Sandbox.start`."""
        await self._base_zygote()

    async def open(self, context: Context, spec: ReplSpec) -> HostedRepl:
        """Open a REPL; see `Sandbox.open`."""
        share = self._shares.setdefault(context, _Share())
        share.users += 1
        repl = HostedRepl(self._start_of(context, share), context, spec, self._settings.limits)
        try:
            await repl.open()
        except BaseException:
            await self._release(context, share)
            raise
        self._repls.add(repl)
        return repl

    async def aclose(self) -> None:
        """End every REPL and every zygote; idempotent."""
        try:
            await asyncio.gather(*(repl.aclose() for repl in list(self._repls)))
        finally:
            base, self._base = self._base, None
            if base is not None:
                await base.aclose()

    def _start_of(self, context: Context, share: _Share) -> Start:
        note: dict[str, Any] = {"kind": "none"} if context.kind == "none" else {"kind": context.kind, "held": True}
        return Start(
            launch=lambda: self._launch(context, share),
            init={"policy": self._settings.policy, "imports": list(self._settings.allowed_imports), "context": note},
            release=lambda: self._release(context, share),
        )

    async def _launch(self, context: Context, share: _Share) -> ForkedChannel:
        zygote = await self._zygote_of(context, share)
        try:
            return await _fork_guest(zygote)
        except REPLError:
            if zygote.is_alive:
                raise
        return await _fork_guest(await self._zygote_of(context, share))  # it had died meanwhile

    async def _zygote_of(self, context: Context, share: _Share) -> HostZygote:
        if context.kind == "none":
            return await self._base_zygote()
        async with share.lock:
            if share.zygote is not None and not share.zygote.is_alive:
                await share.zygote.aclose()
                share.zygote = None
            if share.zygote is None:
                share.zygote = await (await self._base_zygote()).fork_context(context)
            return share.zygote

    async def _base_zygote(self) -> HostZygote:
        async with self._lock:
            if self._base is not None and self._base.is_alive:
                return self._base
            if self._base is not None:
                await self._base.aclose()
            self._base, self.layers = await _spawn(self._settings)
            return self._base

    async def _release(self, context: Context, share: _Share) -> None:
        share.users -= 1
        self._repls = {repl for repl in self._repls if not repl.is_closed}
        if share.users:
            return
        self._shares.pop(context, None)
        if share.zygote is not None:
            await share.zygote.aclose()


async def _fork_guest(zygote: HostZygote) -> ForkedChannel:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    try:
        forked = await zygote.fork_guest(theirs, writing)
    except BaseException:
        ours.close()
        os.close(reading)
        raise
    finally:
        theirs.close()
        os.close(writing)
    how_ended = partial(zygote.how_ended, forked.pid)
    channel = ForkedChannel(ours, reading, forked.pid, forked.pidfd, how_ended=how_ended)
    try:
        await channel.connect()
    except BaseException:
        channel.abandon()
        raise
    return channel


async def probe() -> ConfinementReport:
    """Try every layer in a child process and say which hold here; takes some tens of milliseconds."""
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    settings = LocalSettings(policy="off", allow_unconfined=True)
    try:
        zygote, layers = await _spawn(settings, preload=False)
    except SandboxUnavailableError as e:
        return ConfinementReport(system=system, layers=(Layer(name="local", active=False, detail=str(e)),))
    await zygote.aclose()
    return ConfinementReport(system=system, layers=layers)


async def _spawn(settings: LocalSettings, *, preload: bool = True) -> tuple[HostZygote, tuple[Layer, ...]]:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise SandboxUnavailableError(f"the local sandbox needs Linux; this is {platform.system()}. {_INSTEAD}")
    zygote, ready = await HostZygote.spawn(
        {
            "policy": settings.policy,
            "imports": list(settings.allowed_imports),
            "memory_bytes": settings.memory_bytes,
            "allow_unconfined": settings.allow_unconfined,
            "preload": preload,
        }
    )
    layers = tuple(Layer(**layer) for layer in ready["layers"])
    try:
        if missing(layers) and not settings.allow_unconfined:
            raise SandboxUnavailableError(_unconfined(layers))
        if ready["notes"]:
            raise ConfigError(
                f"local.allowed_imports: {'; '.join(ready['notes'])}. Install it, or take it off the list."
            )
    except RLMError:
        await zygote.aclose()
        raise
    return zygote, layers


def _unconfined(layers: tuple[Layer, ...]) -> str:
    lacks = "; ".join(f"{layer.name}: {layer.detail}" for layer in missing(layers))
    return (
        f"the local sandbox cannot confine code on Linux {platform.release()} ({lacks}). "
        f"It needs Linux 5.13 or later with Landlock and seccomp, on x86-64 or arm64. {_INSTEAD}"
    )
