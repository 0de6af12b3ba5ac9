"""Implements `Repl` for every sandbox: a persistent namespace over guests that may have to be replaced."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLExecutionError
from rlm.repl.guest.wire import WireError
from rlm.repl.live import Limits, LiveGuest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rlm.core.contexts.context import Context
    from rlm.core.types import ExecResult, Json, ReplSpec
    from rlm.repl.channel import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a sandbox starts the guests of one REPL."""

    launch: Callable[[], Awaitable[Channel]]
    """Start a guest; called again after one was killed."""
    init: Mapping[str, Json]
    """Fields of `init` besides the functions."""
    release: Callable[[], Awaitable[None]]
    """Give up what the REPL shares with others; called once."""


class HostedRepl:
    """One REPL; `open` starts its first guest."""

    def __init__(self, start: Start, context: Context, spec: ReplSpec, limits: Limits) -> None:
        self._start = start
        self._context = context
        self._spec = spec
        self._limits = limits
        self._lock = asyncio.Lock()
        self._guest: LiveGuest | None = None
        self._has_lost_state = False
        self.is_closed = False

    async def open(self) -> None:
        """Start the first guest. Raises:
        REPLError: it does not start.
        """
        self._guest = await self._new_guest()

    @property
    def report(self) -> Mapping[str, str]:
        """Layers of confinement of the present guest, by name."""
        return {} if self._guest is None else self._guest.report

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        """Run one cell; see `Repl.execute`."""
        async with self._lock:
            guest = await self._usable_guest()
            lost, self._has_lost_state = self._has_lost_state, False
            try:
                result = await guest.run(code, timeout_s)
            except WireError as e:
                raise REPLExecutionError(f"the cell cannot be sent: {e}") from e
            except BaseException:
                self._has_lost_state = guest.has_ended
                raise
            if guest.has_ended:
                self._guest = None
                await guest.aclose()
            return replace(result, state_reset=True) if lost else result

    def interrupt(self, why: str) -> None:
        """Stop the cell that is running; see `Repl.interrupt`."""
        if self._guest is not None:
            self._guest.interrupt(why)

    async def aclose(self) -> None:
        """Kill the sandbox and wait until it is gone; idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        try:
            if self._guest is not None:
                await self._guest.aclose()
        finally:
            await self._start.release()

    async def _usable_guest(self) -> LiveGuest:
        self._refuse_if_closed()
        if self._guest is not None and self._guest.has_ended:
            self._has_lost_state = True
            await self._guest.aclose()
            self._guest = None
        if self._guest is None:
            self._guest = await self._new_guest()
        return self._guest

    async def _new_guest(self) -> LiveGuest:
        channel = await self._start.launch()
        guest = LiveGuest(channel, self._spec, self._limits, self._context)
        try:
            await guest.start({**self._start.init, "seed": self._spec.seed})
            self._refuse_if_closed()  # while this one started
        except BaseException:
            await guest.aclose()
            raise
        return guest

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise REPLExecutionError("this REPL is closed")
