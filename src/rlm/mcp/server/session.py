"""One session: a persistent REPL whose cells are run for a client, and may wait for its model between two calls.

A cell runs in a task of its own, so that a call can end while the cell waits for answers, and another call goes on with
it. One cell runs at a time: further calls queue. Nothing here knows the protocol.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.mcp.server.rounds import is_full
from rlm.runtime.interactive import Interactive
from rlm.sessions.sandbox import empty_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rlm.backends.host import HostBackend, HostQuery
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.types import ExecResult
    from rlm.runtime.models import RunModels
    from rlm.runtime.wiring import Parts

    Progress = Callable[[str], Awaitable[None]]

PROGRESS_S = 2.0
"""Seconds from one message to a client that a cell still runs to the next."""
SETTLE_S = 0.05
"""Queries are shown once no new one has come for this long..."""
SETTLED_AT_MOST_S = 1.0
"""... and after this long at the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """A cell that waits for its host."""

    queries: tuple[HostQuery, ...]
    asked: int
    """How many sub-calls the cell has made so far."""
    answered: int
    """How many of these have come to an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Which answers of the host were taken, and which were not."""

    given: tuple[str, ...]
    refused: Mapping[str, str]
    """Why an answer was refused, by the query id that was given with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a session makes its REPLs with."""

    parts: Parts
    config: Config
    models: RunModels
    host: HostBackend | None
    """None where a configured model answers."""


class HostSession:
    """A REPL by name; used on one event loop."""

    def __init__(self, session_id: str, setup: Setup) -> None:
        self.id = session_id
        self._setup = setup
        self._lock = asyncio.Lock()
        self._repl: Interactive | None = None
        self._cell: asyncio.Task[ExecResult] | None = None
        self._cell_began_at = 0.0
        self._counted_before = (0, 0)
        self._is_interrupted = False
        self._last_line = ""
        self._names: set[str] = set()
        self.missed: ExecResult | None = None
        """The result of a cell whose end no call waited for."""
        self.closed_because: str | None = None
        self.used_at = time.monotonic()

    @property
    def host(self) -> HostBackend | None:
        return self._setup.host

    @property
    def repl(self) -> Interactive | None:
        """The session's REPL; None before the first use."""
        return self._repl

    @property
    def state(self) -> str:
        """What the session is doing, in a few words."""
        if self._cell is None or self._cell.done():
            return "busy" if self._lock.locked() else "idle"
        return "waiting for answers" if self._waits else "running"

    @property
    def is_idle(self) -> bool:
        return self.state == "idle"

    @property
    def is_working(self) -> bool:
        """Whether a call or a cell is under way, rather than nothing, or a cell that waits for answers."""
        return self._lock.locked() or self.state not in ("idle", "waiting for answers")

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that its cells have set."""
        return tuple(sorted(self._names))

    async def execute(self, code: str, timeout_s: float | None, progress: Progress) -> ExecResult | Suspended:
        """Run a cell to its end, or until it waits for its host.

        Raises:
            ToolError: the cell before still waits for answers, or the session was closed.
            RLMError: the sandbox can't run here, or the record can't be written.
        """
        async with self._lock:
            await self._until_free()
            repl = await self._opened(None)
            self._counted_before = self._counted()
            self._cell_began_at, self._last_line, self._is_interrupted = time.monotonic(), "", False
            self._cell = asyncio.ensure_future(repl.execute(code, timeout_s, self._note))
            return await self._news(progress)

    async def go_on(self, answers: Mapping[str, str], progress: Progress) -> tuple[Delivery, ExecResult | Suspended]:
        """Hand in answers, and go on with the cell that waits for them; without any, see it once more.

        Raises:
            ToolError: no cell waits, or none of the ids is waited for.
        """
        async with self._lock:
            if self._cell is None or self._setup.host is None:
                raise ToolError(f"no cell of session {self.id!r} waits for answers: run one with execute_python")
            delivery = _deliver(self._setup.host, answers)
            if answers and not delivery.given and not self._cell.done():
                waiting = ", ".join(query.id for query in self._setup.host.waiting)
                raise ToolError(f"{_reasons(delivery)}; the queries that wait are: {waiting}")
            return delivery, await self._news(progress)

    async def load(self, context: Context, *, replace: bool) -> None:
        """Open the REPL anew with other data.

        Raises:
            ToolError: variables would be lost, and `replace` is false.
        """
        async with self._lock:
            await self._until_free()
            if self._names and not replace:
                some = ", ".join(self.names[:10])
                raise ToolError(
                    f"session {self.id!r} has variables ({some}) and loading starts its REPL anew: load into another "
                    "session_id, or pass replace=true to lose them"
                )
            await self._close_repl()
            await self._opened(context)

    async def clear(self) -> tuple[str, ...]:
        """Start the REPL anew with the same data, whatever runs in it; returns the names that are gone."""
        self.interrupt("clear_repl_context was called")
        async with self._lock:
            await self._end_cell("clear_repl_context was called")
            context, gone = None if self._repl is None else self._repl.context, self.names
            await self._close_repl()
            await asyncio.to_thread(empty_session, self._setup.config)
            await self._opened(context)
            return gone

    def interrupt(self, why: str) -> None:
        """Stop the cell that runs or waits; the variables stay."""
        if self._repl is not None and self._cell is not None:
            self._is_interrupted = True
            self._repl.interrupt(why)

    async def aclose(self, why: str) -> None:
        """Kill the REPL, with whatever runs or waits in it; idempotent."""
        self.closed_because = self.closed_because or why
        await self._end_cell(why)
        await self._close_repl()

    def masked(self, text: str) -> str:
        """`text` as its client may see it."""
        return text if self._repl is None else self._repl.masked(text)

    def _note(self, text: str) -> None:
        lines = text.strip().splitlines()
        self._last_line = lines[-1][:200] if lines else self._last_line

    @property
    def _waits(self) -> bool:
        return self._setup.host is not None and bool(self._setup.host.waiting)

    async def _until_free(self) -> None:
        """Wait for the end of a cell that was interrupted. Raises:
        ToolError: the cell before waits for answers, or the session was closed.
        """
        if self.closed_because is not None:
            raise ToolError(f"session {self.id!r} was closed: {self.closed_because}")
        if self._cell is None:
            return
        if not self._cell.done() and self._waits and not self._is_interrupted:
            raise ToolError(
                f"session {self.id!r} has a cell that waits for answers: answer_queries goes on with it "
                "(cancel=true gives it up), or use another session_id"
            )
        await asyncio.wait({self._cell})
        self.missed = self._ended(self._cell)

    async def _opened(self, context: Context | None) -> Interactive:
        if self._repl is None:
            setup = self._setup
            self._repl = await Interactive.open(setup.parts, setup.config, context, setup.models)
            self._names.clear()
        return self._repl

    async def _news(self, progress: Progress) -> ExecResult | Suspended:
        """The end of the cell, or the queries that it waits for; tells `progress` now and then meanwhile."""
        cell = self._cell
        assert cell is not None
        self.used_at = time.monotonic()
        try:
            while not cell.done():
                if self._waits:
                    await self._settled(cell)
                if self._waits and self._setup.host is not None and not cell.done():
                    asked, answered = self._subcalls
                    return Suspended(queries=self._setup.host.waiting, asked=asked, answered=answered)
                await self._pause(cell, PROGRESS_S)
                if not cell.done() and not self._waits:
                    await progress(self._progress_text())
            return self._ended(cell)
        finally:
            self.used_at = time.monotonic()

    def _ended(self, cell: asyncio.Task[ExecResult]) -> ExecResult:
        self._cell = None
        if cell.cancelled():
            raise ToolError(f"the cell was ended: {self.closed_because or 'its session was closed'}")
        result = cell.result()
        if result.state_reset:
            self._names.clear()
        else:
            self._names.update(result.changed)
        return result

    async def _settled(self, cell: asyncio.Task[ExecResult]) -> None:
        """Wait until no more queries come for a moment: threads and batches ask one after the other."""
        host = self._setup.host
        assert host is not None
        until = time.monotonic() + SETTLED_AT_MOST_S
        while not cell.done() and not is_full(host.waiting) and time.monotonic() < until:
            host.arrived.clear()
            await self._pause(cell, SETTLE_S)
            if not host.arrived.is_set():
                return

    async def _pause(self, cell: asyncio.Task[ExecResult], seconds: float) -> None:
        """Wait until the cell ends, a query comes, or `seconds` have passed."""
        waits: set[asyncio.Future[object]] = {cell}  # type: ignore[arg-type]
        arrival = None
        if self._setup.host is not None:
            arrival = asyncio.ensure_future(self._setup.host.arrived.wait())
            waits.add(arrival)  # type: ignore[arg-type]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if arrival is not None:
                arrival.cancel()

    def _progress_text(self) -> str:
        elapsed_s = time.monotonic() - self._cell_began_at
        asked, answered = self._subcalls
        subcalls = f", {answered:,} of {asked:,} sub-calls answered" if asked else ""
        printed = f": {self.masked(self._last_line)}" if self._last_line else ""
        return f"running for {elapsed_s:.0f} s{subcalls}{printed}"

    @property
    def _subcalls(self) -> tuple[int, int]:
        """How many sub-calls the cell has made, and how many of them have come to an end."""
        asked, answered = self._counted()
        return asked - self._counted_before[0], answered - self._counted_before[1]

    def _counted(self) -> tuple[int, int]:
        return (0, 0) if self._repl is None else (self._repl.usage.subcalls, self._repl.answered)

    async def _end_cell(self, why: str) -> None:
        """End the cell, whatever it does, and kill its sandbox with it."""
        cell, self._cell = self._cell, None
        if cell is None:
            return
        cell.cancel(why)
        await asyncio.wait({cell})

    async def _close_repl(self) -> None:
        repl, self._repl = self._repl, None
        self._names.clear()
        if repl is not None:
            await repl.aclose()


def _deliver(host: HostBackend, answers: Mapping[str, str]) -> Delivery:
    given, refused = [], {}
    for query_id, text in answers.items():
        if host.give(query_id, text):
            given.append(query_id)
        else:
            known = host.was_asked(query_id)
            refused[query_id] = "answered before, or given up" if known else "there is no such query"
    return Delivery(given=tuple(given), refused=refused)


def _reasons(delivery: Delivery) -> str:
    return "; ".join(f"{query_id[:40]}: {why}" for query_id, why in list(delivery.refused.items())[:10])
