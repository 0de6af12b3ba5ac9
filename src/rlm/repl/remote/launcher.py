"""Starts guests on a far machine, over whatever connects to it; a context is sent there once and held for all.

Nothing is installed there and nothing is written to its files: the guest half travels over the line.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.core.types import Traits
from rlm.repl import portable, spool_folders
from rlm.repl.guest.linux.confine import Layer, missing
from rlm.repl.guest.wire import pack
from rlm.repl.pool import WarmPool
from rlm.repl.remote.channel import FarProcess
from rlm.repl.shares import Shares

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rlm.core.contexts.context import Context
    from rlm.core.types import Json
    from rlm.repl.remote.line import Connector

_PORTABLE = ("rlm.repl.guest", "rlm.repl.guest.carry", "rlm.repl.guest.linux", "rlm.repl.guest.remote")
_START = "from rlm.repl.guest.remote.entry import main\nmain()"
_UNPACK = (
    "import sys;sys.path=[p for p in sys.path if p];import base64,zlib;exec(zlib.decompress(base64.b64decode({})))"
)
"""One line without a sign that any shell would read; the home folder is no place to import from."""
_CLEAN = ("env", "-u", "PYTHONPATH", "-u", "PYTHONHOME", "-u", "PYTHONINSPECT", "PYTHONHASHSEED=0")
"""Sets come in the same order each time, so that a cell which is run again prints the same."""
_SENT_BYTES = 1 << 16
"""The size of a context up to which each guest is sent it; a larger one is held there for all."""
_START_TIMEOUT_S = 60.0
_MAX_CONNECTING = 4
"""How many lines are opened at one time: sshd turns away more than ten that have yet to log in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarPlan:
    """What every guest of one sandbox has in common."""

    name: str
    """The name of the sandbox."""
    python: str
    """The command of the Python there."""
    memory_bytes: int
    lease_s: float
    """How long the line may keep silent before either end gives it up."""
    allow_unconfined: bool
    warm: int
    missing: str
    """What a cell is told that imports a package which isn't there."""


class HeldContext:
    """A context that a process on the far machine holds."""

    def __init__(self, process: FarProcess, path: str) -> None:
        self._process = process
        self.path = path
        """Where guests of that machine open it."""

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive

    async def aclose(self) -> None:
        await self._process.aclose()


class WarmGuest:
    """A guest that waits to be told its context."""

    def __init__(self, process: FarProcess) -> None:
        self.process = process

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive

    async def place(self, context: Context | None) -> None:
        """Send it a context; None: it has found its own. Raises:
        REPLError: the line takes no more.
        """
        size = 0 if context is None else spool_folders.size_bytes(context)
        self.process.send(pack({"t": "place", "streamed_bytes": size}))
        if size and context is not None:
            async for block in spool_folders.blocks(context):
                await self.process.push_block(block)

    async def aclose(self) -> None:
        await self.process.aclose()


class RemoteLauncher:
    """Implements `Launcher` over a connector, which is its own to close."""

    def __init__(self, connector: Connector, plan: FarPlan) -> None:
        self._connector = connector
        self._plan = plan
        self._connecting = asyncio.Semaphore(_MAX_CONNECTING)
        self._pool = WarmPool(self._start_guest, size=plan.warm)
        self._held = Shares(self._hold)
        self._layers: tuple[str, ...] = ()

    @classmethod
    async def start(cls, connector: Connector, plan: FarPlan) -> RemoteLauncher:
        """Start a first guest, to see what there is; see `Kind.start`."""
        launcher = cls(connector, plan)
        try:
            await launcher._pool.ready()
        except SandboxUnavailableError:
            await launcher.aclose()
            raise
        except REPLError as e:
            await launcher.aclose()
            raise SandboxUnavailableError(str(e)) from e
        except BaseException:
            await launcher.aclose()
            raise
        return launcher

    @property
    def traits(self) -> Traits:
        return Traits(threads=True, shared_context=False, policy=False, layers=self._layers)

    @property
    def is_alive(self) -> bool:
        """A machine that can't be reached may be back for the next guest."""
        return True

    def init(self, context: Context) -> Mapping[str, Json]:
        note = spool_folders.note(context)
        return {"policy": "off", "imports": [], "context": note, "missing": self._plan.missing}

    async def launch(self, context: Context) -> FarProcess:
        if spool_folders.size_bytes(context) <= _SENT_BYTES:
            guest = await self._pool.take()
            given: Context | None = context
        else:
            guest = await self._start_guest((await self._held.get(context)).path)
            given = None
        try:
            await guest.place(given)
        except BaseException:
            await guest.aclose()
            raise
        return guest.process

    async def forget(self, context: Context) -> None:
        """End the process that holds the context; guests keep what they have opened."""
        await self._held.forget(context)

    async def aclose(self) -> None:
        """End what waits, what holds contexts, and the connector."""
        try:
            await self._pool.aclose()
            await self._held.aclose()
        finally:
            await self._connector.aclose()

    def _unconfined(self, lacks: list[Layer]) -> str:
        named = "; ".join(f"{layer.name}: {layer.detail}" for layer in lacks)
        return (
            f"{self._connector.far} cannot confine code ({named})\nit needs Linux 5.13 or later with Landlock and "
            f"seccomp; for code that you would run there by hand, set {self._plan.name}.allow_unconfined = true"
        )

    async def _start_guest(self, path: str = "") -> WarmGuest:
        process = await self._connected({"context": path})
        try:
            said = await self._first_of(process)
            self._note_layers(tuple(Layer(**layer) for layer in said["layers"]))
        except BaseException:
            await process.aclose()
            raise
        return WarmGuest(process)

    def _note_layers(self, layers: tuple[Layer, ...]) -> None:
        """Take note of how guests are confined there. Raises:
        SandboxUnavailableError: not as they have to be.
        """
        self._layers = (*(layer.name for layer in layers if layer.active), "lease")
        lacks = missing(layers)
        if lacks and not self._plan.allow_unconfined:
            raise SandboxUnavailableError(self._unconfined(lacks))

    async def _hold(self, context: Context) -> HeldContext:
        process = await self._connected({"holds_bytes": spool_folders.size_bytes(context)})
        try:
            async for block in spool_folders.blocks(context):
                await process.push(block)
            said = await self._first_of(process)
        except BaseException:
            await process.aclose()
            raise
        return HeldContext(process, str(said["path"]))

    async def _connected(self, settings: Mapping[str, Any]) -> FarProcess:
        plan, token = self._plan, secrets.token_hex(16)
        process = FarProcess(token, as_text=self._connector.as_text, lease_s=plan.lease_s)
        archive = portable.archive(_PORTABLE)
        begins = {
            "token": token,
            "as_text": self._connector.as_text,
            "lease_s": plan.lease_s,
            "memory_bytes": plan.memory_bytes,
            "allow_unconfined": plan.allow_unconfined,
            "context": "",
            "holds_bytes": 0,
            **settings,
        }
        async with self._connecting, self._in_time():
            process.begin(
                await self._connector.connect(_command(plan.python, len(archive)), process), archive + pack(begins)
            )
            try:
                await process.begun()
            except BaseException:
                await process.aclose()
                raise
        return process

    async def _first_of(self, process: FarProcess) -> dict[str, Any]:
        async with self._in_time():
            return await process.first()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                yield
        except TimeoutError as e:
            raise REPLError(f"nothing started on {self._connector.far} within {_START_TIMEOUT_S:g} s") from e


def _command(python: str, archive_bytes: int) -> tuple[str, ...]:
    packed = base64.b64encode(zlib.compress(portable.boot(_START).encode(), 9)).decode()
    return (*_CLEAN, python, "-s", "-S", "-c", _UNPACK.format(repr(packed)), str(archive_bytes))
