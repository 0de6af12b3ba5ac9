"""The one class of sandbox: it opens REPLs, over a launcher that starts their guests.

What every sandbox needs stands here once: starting it once, the set of its REPLs, who uses which context, and closing.
What makes one sandbox differ from another is its launcher.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rlm.core.exceptions import REPLError
from rlm.core.types import Traits
from rlm.repl.host import HostedRepl, Start
from rlm.repl.live import Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.types import Json, ReplSpec
    from rlm.repl.channel import Channel
    from rlm.repl.guest.linux.confine import Layer

S = TypeVar("S")


class Launcher(Protocol):
    """A sandbox that has started, as far as it differs from others: it starts guests. Belongs to one event loop."""

    @property
    def traits(self) -> Traits:
        """What guest code can count on, and the layers that confine it."""
        ...

    @property
    def is_alive(self) -> bool:
        """It can start guests; one that can't any more is closed, and another is started in its place."""
        ...

    def init(self, context: Context) -> Mapping[str, Json]:
        """The fields `policy`, `imports` and `context` of a guest's `init` frame; see `docs/wire.md`."""
        ...

    async def launch(self, context: Context) -> Channel:
        """Start a guest that holds `context`, or finds it where its `init` says. Raises:
        REPLError: it doesn't start; nothing of it is left.
        """
        ...

    async def forget(self, context: Context) -> None:
        """Give up what guests of `context` shared: no REPL uses it any more. Idempotent."""
        ...

    async def aclose(self) -> None:
        """End all that was started, but for guests that were handed out; called once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What `rlm doctor` says of a sandbox that it looked at, without starting it."""

    ok: bool
    detail: str
    """What is there or what is missing, on one line."""
    hint: str = ""
    """How to get what is missing."""
    layers: tuple[Layer, ...] = ()
    """The parts that were looked at, each with what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[S]):
    """A kind of sandbox, as the table in `rlm.repl` and plug-ins name it; `S` is its section of the configuration."""

    name: str
    section: Callable[[Config], S]
    """Finds its settings in a configuration."""
    start: Callable[[S], Awaitable[Launcher]]
    """Start a launcher; one that fails, or is cancelled, leaves nothing. Raises SandboxUnavailableError: it can't run
    here; says what is missing."""
    probe: Callable[[S], Awaitable[Probe]]
    """Look at what it needs without starting, fetching or making anything."""

    def from_config(self, config: Config) -> HostedSandbox:
        """The sandbox as its section and the cell settings ask for it."""
        return self.sandbox(self.section(config), Limits(cell_timeout_s=config.cell_timeout_s))

    async def look(self, config: Config) -> Probe:
        """Look at what the sandbox needs under its section; see `probe`."""
        return await self.probe(self.section(config))

    def sandbox(self, section: S, limits: Limits | None = None) -> HostedSandbox:
        """The sandbox with these settings; `limits` are those of each cell."""
        return HostedSandbox(self.name, lambda: self.start(section), limits or Limits())


class HostedSandbox:
    """Implements `Sandbox` over a launcher; one instance belongs to one event loop."""

    def __init__(self, name: str, start: Callable[[], Awaitable[Launcher]], limits: Limits) -> None:
        self._name = name
        self._start = start
        self._limits = limits
        self._lock = asyncio.Lock()
        self._launcher: Launcher | None = None
        self._repls: set[HostedRepl] = set()
        self._users: Counter[Context] = Counter()
        self._is_closed = False

    @property
    def traits(self) -> Traits:
        """What guest code can count on; known once started."""
        return Traits() if self._launcher is None else self._launcher.traits

    async def start(self) -> None:
        """Start the launcher, unless one works already; see `Sandbox.start`."""
        await self._started()

    async def open(self, context: Context, spec: ReplSpec) -> HostedRepl:
        """Open a REPL; see `Sandbox.open`."""
        launcher = await self._started()
        start = Start(
            launch=lambda: self._launch(context),
            init=launcher.init(context),
            release=lambda: self._release(context),
        )
        repl = HostedRepl(start, context, spec, self._limits)
        self._users[context] += 1
        self._repls.add(repl)
        try:
            await repl.open()
        except BaseException:
            await repl.aclose()
            raise
        return repl

    async def aclose(self) -> None:
        """End every REPL and the launcher, one that is being started too; idempotent."""
        self._is_closed = True
        try:
            await asyncio.gather(*(repl.aclose() for repl in list(self._repls)))
        finally:
            launcher, self._launcher = self._launcher, None
            if launcher is not None:
                await launcher.aclose()

    async def _started(self) -> Launcher:
        async with self._lock:
            self._refuse_if_closed()
            if self._launcher is not None and self._launcher.is_alive:
                return self._launcher
            dead, self._launcher = self._launcher, None
            if dead is not None:
                await dead.aclose()
            launcher = await self._start()
            if self._is_closed:  # while it started
                await launcher.aclose()
                self._refuse_if_closed()
            self._launcher = launcher
            return launcher

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise REPLError(f"the sandbox {self._name} is closed")

    async def _launch(self, context: Context) -> Channel:
        try:
            return await self._launched(context)
        finally:
            if not self._users[context] and self._launcher is not None:  # its REPL was closed meanwhile
                await self._launcher.forget(context)

    async def _launched(self, context: Context) -> Channel:
        launcher = await self._started()
        try:
            return await launcher.launch(context)
        except REPLError:
            if launcher.is_alive:
                raise
        return await (await self._started()).launch(context)  # the launcher had died meanwhile

    async def _release(self, context: Context) -> None:
        self._repls = {repl for repl in self._repls if not repl.is_closed}
        self._users[context] -= 1
        if self._users[context]:
            return
        del self._users[context]
        if self._launcher is not None:
            await self._launcher.forget(context)
