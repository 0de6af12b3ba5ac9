"""Lists of requests that are made one after the other, each a run of its own with a fresh conversation. A list outlives
the service: what had not begun when it stopped begins when it is back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import RLMError
from rlm.core.record.recorder import new_run_id
from rlm.service.messages import NewAct, NewRun, ResultNote
from rlm.service.refusals import RequestRefused
from rlm.service.state import OPEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.jobs.engines.engine import Numbered
    from rlm.service.desk import Desk
    from rlm.service.messages import RunNote
    from rlm.service.state import RunRow
    from rlm.service.tokens import Caller

MOST = 200
"""The longest list."""


class Lists:
    """The lists of all tokens; used on one event loop only."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._making: dict[str, asyncio.Task[None]] = {}
        """By the id of each list in progress, the task that begins its runs."""

    async def submit(self, caller: Caller, asked: list[NewRun]) -> str:
        """Take a list of requests, and return its id.

        Raises:
            RequestRefused: one of them is not possible, or the token may not have it; nothing is begun.
        """
        if not 0 < len(asked) <= MOST:
            raise RequestRefused(422, f"a list has 1 to {MOST} requests, not {len(asked)}")
        list_id = new_run_id()
        rows: list[RunRow] = []
        try:
            for place, each in enumerate(asked):
                taken = await self._desk.take(caller, each, key=_key(list_id, place), waiting=len(asked) - place)
                rows.append(taken.row)
        except BaseException:
            for row in rows:
                self._desk.forget(row)
            raise
        self._go_on(caller, list_id, rows)
        return list_id

    async def take_up(self, callers: dict[str, Caller]) -> None:
        """Go on with the lists that a service before this one left unfinished."""
        left: dict[tuple[str, str], list[RunRow]] = {}
        for row in self._desk.unfinished():
            if row.key is not None and row.key.startswith(PREFIX):
                left.setdefault((row.tenant, row.key.split(":")[1]), []).append(row)
        for (tenant, list_id), rows in left.items():
            if (caller := callers.get(tenant)) is not None:
                self._go_on(caller, list_id, rows)

    def notes(self, caller: Caller, list_id: str) -> list[RunNote]:
        """How the runs of a list stand, in its order; a run that was asked for alone is a list of one.

        Raises:
            RequestRefused: this token has no such list, and no such run.
        """
        rows = self._desk.by_prefix(caller, _key(list_id, None))
        if not rows:
            return [self._desk.note(caller, list_id)]
        return [self._desk.note(caller, row.id) for row in sorted(rows, key=_place)]

    async def events(self, caller: Caller, list_id: str) -> AsyncIterator[tuple[RunNote, Numbered | None]]:
        """The events of all runs of a list, each with its run; at the end of each run None, with how it stands."""
        for first in self.notes(caller, list_id):
            async for each in self._desk.events(caller, first.id):
                yield first, each
            with suppress(RequestRefused):
                await self._desk.result(caller, first.id)
            yield self._desk.note(caller, first.id), None

    async def cancel(self, caller: Caller, list_id: str, why: str = "") -> None:
        """Cancel what a list has in progress, and begin no more of it.

        Raises:
            RequestRefused: this token has no such list, and no such run.
        """
        notes = self.notes(caller, list_id)
        making = self._making.get(list_id)
        if making is not None:
            making.cancel()
        for note in notes:
            if note.result is not None:
                continue
            if self._desk.has_begun(caller, note.id):
                self._desk.act(caller, note.id, NewAct(action="cancel", why=why))
            else:
                ended = ResultNote(status="cancelled", response="", error="it was cancelled before it began")
                self._desk.drop(caller, note.id, ended)

    def act(self, caller: Caller, list_id: str, asked: NewAct) -> RunNote:
        """Act on the run that a list has in progress.

        Raises:
            RequestRefused: it has none, or it can't be done.
        """
        notes = self.notes(caller, list_id)
        current = next((note for note in notes if note.result is None), notes[-1])
        return self._desk.act(caller, current.id, asked)

    async def aclose(self) -> None:
        """Begin nothing more."""
        for task in self._making.values():
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    def _go_on(self, caller: Caller, list_id: str, rows: list[RunRow]) -> None:
        task = asyncio.create_task(self._make(caller, sorted(rows, key=_place)))
        self._making[list_id] = task
        task.add_done_callback(lambda _done: self._making.pop(list_id, None))

    async def _make(self, caller: Caller, rows: list[RunRow]) -> None:
        for row in rows:
            if self._desk.note(caller, row.id).result is not None:
                continue
            if not self._desk.has_begun(caller, row.id):
                try:
                    await self._desk.begin(caller, row)
                except (RLMError, msgspec.MsgspecError) as error:
                    self._desk.drop(caller, row.id, ResultNote(status="failed", response="", error=str(error)))
            with suppress(RequestRefused):
                await self._desk.result(caller, row.id)


PREFIX = "list:"
"""What the keys of runs begin with that are of a list."""


def _key(list_id: str, place: int | None) -> str:
    return f"{PREFIX}{list_id}:" + ("" if place is None else str(place))


def _place(row: RunRow) -> int:
    return int((row.key or "0").rpartition(":")[2])


def state_of(notes: list[RunNote]) -> str:
    """How a list stands as a whole."""
    states = [note.state for note in notes]
    for state in ("running", "paused", "queued", OPEN):
        if state in states:
            return "running" if state == "queued" and len(set(states)) > 1 else state
    wrong = [state for state in states if state != "completed"]
    return wrong[0] if wrong else "completed"
