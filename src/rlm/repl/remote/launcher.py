"""Starts guests on a far machine, over whatever connects to it: the guest half is sent there once, to a keeper that
forks all guests, and each large context once, to a process that holds it.

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

from rlm.core.contexts.context import Context
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

    from rlm.core.types import Json
    from rlm.repl.remote.line import Connector

_PORTABLE = ("rlm.repl.guest", "rlm.repl.guest.carry", "rlm.repl.guest.linux", "rlm.repl.guest.remote")
_ASK = """\
import os, socket, sys
keeper = socket.socket(socket.AF_UNIX)
keeper.connect("\\0" + sys.argv[1])
socket.send_fds(keeper, [b"."], [0, 1, 2])
nothing = os.open(os.devnull, os.O_RDWR)
for descriptor in range(3):
    os.dup2(nothing, descriptor)
os._exit((keeper.recv(1) or b"\\0")[0])
"""
"""Gives the keeper the streams of a line, and waits for the end of what is served there."""
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


class FarKeeper:
    """The process on the far machine that forks all others."""

    def __init__(self, process: FarProcess, name: str) -> None:
        self._process = process
        self.name = name
        """The name of the socket over which it is asked."""

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive

    async def aclose(self) -> None:
        await self._process.aclose()


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

    def __init__(self, process: FarProcess, *, has_context: bool) -> None:
        self.process = process
        self._has_context = has_context

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive

    async def place(self, context: Context) -> None:
        """Send it its context, unless it has found that. Raises:
        REPLError: the line takes no more.
        """
        size = 0 if self._has_context else spool_folders.size_bytes(context)
        self.process.send(pack({"t": "place", "streamed_bytes": size}))
        if size:
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
        self._nothing = Context.empty()
        self._keeper = Shares(self._keep)
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
        return self._connector.is_alive

    def init(self, context: Context) -> Mapping[str, Json]:
        note = spool_folders.note(context)
        return {"policy": "off", "imports": [], "context": note, "missing": self._plan.missing}

    async def launch(self, context: Context) -> FarProcess:
        if spool_folders.size_bytes(context) <= _SENT_BYTES:
            guest = await self._pool.take()
        else:
            guest = await self._start_guest((await self._held.get(context)).path)
        try:
            await guest.place(context)
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
            await self._keeper.aclose()
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
        return WarmGuest(process, has_context=said["given"])

    def _note_layers(self, layers: tuple[Layer, ...]) -> None:
        """Take note of how guests are confined there. Raises:
        SandboxUnavailableError: not as they have to be.
        """
        active = [layer.name for layer in layers if layer.active]
        ends_with = ["lease"] if "namespaces" in active else ["process group", "lease"]
        self._layers = (*active, *ends_with)
        lacks = missing(layers)
        if lacks and not self._plan.allow_unconfined:
            raise SandboxUnavailableError(self._unconfined(lacks))

    async def _hold(self, context: Context) -> HeldContext:
        process = await self._connected({"holds_bytes": spool_folders.size_bytes(context)})
        try:
            async for block in spool_folders.blocks(context):
                await process.push_block(block)
            said = await self._first_of(process)
        except BaseException:
            await process.aclose()
            raise
        return HeldContext(process, str(said["path"]))

    async def _connected(self, settings: Mapping[str, Any]) -> FarProcess:
        """A new process at the far end, forked by the keeper: by another one, where that serves nobody any more."""
        keeper = await self._keeper.get(self._nothing)
        try:
            return await self._asked(keeper, settings)
        except REPLError:
            await keeper.aclose()
        return await self._asked(await self._keeper.get(self._nothing), settings)

    async def _asked(self, keeper: FarKeeper, settings: Mapping[str, Any]) -> FarProcess:
        return await self._begun(_python(self._plan.python, _ASK, keeper.name), b"", settings)

    async def _keep(self, _context: Context) -> FarKeeper:
        name = f"rlm-{secrets.token_hex(16)}"
        archive = portable.archive(_PORTABLE)
        command = _python(self._plan.python, portable.boot(_START), str(len(archive)))
        process = await self._begun(command, archive, {"name": name})
        try:
            await self._first_of(process)
        except BaseException:
            await process.aclose()
            raise
        return FarKeeper(process, name)

    async def _begun(self, command: tuple[str, ...], first: bytes, settings: Mapping[str, Any]) -> FarProcess:
        """Open a line, and send what the far process begins with."""
        plan, token = self._plan, secrets.token_hex(16)
        process = FarProcess(token, as_text=self._connector.as_text, lease_s=plan.lease_s)
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
            process.begin(await self._connector.connect(command, process), first + pack(begins))
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


def _python(python: str, code: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs code in the far Python."""
    packed = base64.b64encode(zlib.compress(code.encode(), 9)).decode()
    return (*_CLEAN, python, "-s", "-S", "-c", _UNPACK.format(repr(packed)), *arguments)
