"""The sandbox `local`: confined processes of this machine, forked from zygotes.

A zygote that holds a context serves the REPLs of that context only; the base zygote holds none.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rlm.core.config import LocalConfig
from rlm.core.exceptions import ConfigError, REPLError, RLMError, SandboxUnavailableError
from rlm.core.types import Traits
from rlm.repl.forked import ForkedChannel
from rlm.repl.guest.linux.confine import Layer, missing
from rlm.repl.guest.policy.names import DATA_PACKAGES
from rlm.repl.local.zygotes import HostZygote
from rlm.repl.sandbox import Kind, Probe
from rlm.repl.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.contexts.context import Context
    from rlm.core.types import Json

_INSTEAD = (
    'Use another sandbox (environment = "docker" or "wasm"), or, for code that you would run by hand, set '
    "local.allow_unconfined = true. `rlm doctor` lists the layers."
)


class LocalLauncher:
    """Implements `Launcher`: forks guests from the base zygote, or from the zygote that holds their context."""

    def __init__(self, section: LocalConfig, base: HostZygote, layers: tuple[Layer, ...]) -> None:
        self._section = section
        self._base = base
        self._layers = layers
        self._holding = Shares(base.fork_context)

    @classmethod
    async def start(cls, section: LocalConfig) -> LocalLauncher:
        """Start the base zygote; see `Kind.start`."""
        base, layers = await _spawn(section)
        return cls(section, base, layers)

    @property
    def traits(self) -> Traits:
        return Traits(
            threads=True,
            shared_context=True,
            policy=self._section.policy != "off",
            packages=tuple(on_demand(self._section)),
            layers=tuple(layer.name for layer in self._layers if layer.active),
        )

    @property
    def is_alive(self) -> bool:
        return self._base.is_alive

    def init(self, context: Context) -> Mapping[str, Json]:
        note: dict[str, Json] = {"kind": context.kind}
        if context.kind != "none":
            note["held"] = True
        return {"policy": self._section.policy, "imports": list(self._section.allowed_imports), "context": note}

    async def launch(self, context: Context) -> ForkedChannel:
        zygote = await self._zygote_of(context)
        try:
            return await _fork_guest(zygote)
        except REPLError:
            if zygote.is_alive:
                raise
        return await _fork_guest(await self._zygote_of(context))  # it had died meanwhile

    async def forget(self, context: Context) -> None:
        """End the zygote that holds `context`."""
        await self._holding.forget(context)

    async def aclose(self) -> None:
        """End every zygote."""
        await self._holding.aclose()
        await self._base.aclose()

    async def _zygote_of(self, context: Context) -> HostZygote:
        return self._base if context.kind == "none" else await self._holding.get(context)


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


async def _probe(_section: LocalConfig) -> Probe:
    """Try every layer in a child process; takes some tens of milliseconds."""
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    try:
        zygote, layers = await _spawn(LocalConfig(policy="off", allow_unconfined=True), preload=False)
    except SandboxUnavailableError as e:
        layers = (Layer(name="local", active=False, detail=str(e)),)
    else:
        await zygote.aclose()
    lacks = ", ".join(layer.name for layer in missing(layers))
    if not lacks and any(layer.active for layer in layers):
        return Probe(ok=True, detail=f"confines code on {system}", layers=layers)
    hint = "it needs Linux 5.13 or later, in a container that permits Landlock and seccomp; else use wasm or docker"
    return Probe(ok=False, detail=f"can't confine code on {system}: {lacks}", hint=hint, layers=layers)


async def _spawn(section: LocalConfig, *, preload: bool = True) -> tuple[HostZygote, tuple[Layer, ...]]:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise SandboxUnavailableError(f"the local sandbox needs Linux; this is {platform.system()}. {_INSTEAD}")
    zygote, ready = await HostZygote.spawn(
        {
            "policy": section.policy,
            "imports": list(section.allowed_imports),
            "on_demand": on_demand(section),
            "memory_bytes": section.memory_bytes,
            "allow_unconfined": section.allow_unconfined,
            "preload": preload,
        }
    )
    layers = tuple(Layer(**layer) for layer in ready["layers"])
    try:
        if missing(layers) and not section.allow_unconfined:
            raise SandboxUnavailableError(_unconfined(layers))
        if ready["notes"]:
            raise ConfigError(
                f"local.allowed_imports: {'; '.join(ready['notes'])}. Install it, or take it off the list."
            )
    except RLMError:
        await zygote.aclose()
        raise
    return zygote, layers


def on_demand(section: LocalConfig) -> list[str]:
    """The packages for work on data that cells may import without a setting: they are installed, and the kernel
    confines the guest, which is not certain where the user lets it run unconfined."""
    if section.policy != "relaxed" or section.allow_unconfined:
        return []
    allowed = {name.partition(".")[0] for name in section.allowed_imports}
    return [name for name in DATA_PACKAGES if name not in allowed and _is_installed(name)]


@cache
def _is_installed(name: str) -> bool:
    return find_spec(name) is not None


def _unconfined(layers: tuple[Layer, ...]) -> str:
    lacks = "; ".join(f"{layer.name}: {layer.detail}" for layer in missing(layers))
    return (
        f"the local sandbox cannot confine code on Linux {platform.release()} ({lacks}). "
        f"It needs Linux 5.13 or later with Landlock and seccomp, on x86-64 or arm64. {_INSTEAD}"
    )


LOCAL = Kind(name="local", section=lambda config: config.local, start=LocalLauncher.start, probe=_probe)
