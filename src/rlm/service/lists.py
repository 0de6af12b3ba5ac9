"""Lists of requests, each a run of its own with a fresh conversation: prompts one after the other, tasks as soon as
what they need has completed; the answers of those before are their data. A list outlives the service: what had not
begun when it stopped begins when it is back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import RLMError
from rlm.core.record.recorder import new_run_id
from rlm.jobs.tasks.problems import problems_of
from rlm.jobs.tasks.values import GivenList, ListedTask, TaskList
from rlm.service.messages import NewAct, NewTask, ResultNote
from rlm.service.refusals import RequestRefused
from rlm.service.results import asked_in
from rlm.service.state import OPEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rlm.core.types import Json
    from rlm.jobs.engines.engine import Numbered
    from rlm.service.desk import Desk
    from rlm.service.messages import NewRun, RunNote
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

    async def submit(self, caller: Caller, asked: Sequence[NewRun]) -> str:
        """Take a list of requests, and return its id: tasks are begun by what they need, others in their order.

        Raises:
            RequestRefused: one of them is not possible, or the token may not have it; nothing is begun.
        """
        if not 0 < len(asked) <= MOST:
            raise RequestRefused(422, f"a list has 1 to {MOST} requests, not {len(asked)}")
        if wrong := _faults([each for each in asked if isinstance(each, NewTask)]):
            raise RequestRefused(422, "\n".join(wrong))
        list_id = new_run_id()
        rows: list[RunRow] = []
        try:
            for place, each in enumerate(asked):
                key = _key(list_id, place, each.id if isinstance(each, NewTask) else "")
                taken = await self._desk.take(caller, each, key=key, waiting=len(asked) - place)
                rows.append(taken.row)
        except BaseException:
            for row in rows:
                self._desk.forget(row)
            raise
        self._go_on(caller, list_id)
        return list_id

    async def take_up(self, callers: dict[str, Caller]) -> None:
        """Go on with the lists that a service before this one left unfinished."""
        keys = ((row.tenant, row.key) for row in self._desk.unfinished() if row.key is not None)
        left = dict.fromkeys((tenant, key.split(":")[1]) for tenant, key in keys if key.startswith(PREFIX))
        for tenant, list_id in left:
            if (caller := callers.get(tenant)) is not None:
                self._go_on(caller, list_id)

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

    async def ended(self, list_id: str, most_s: float) -> None:
        """Wait until nothing more of a list begins or is in progress, or so many seconds have passed."""
        if (making := self._making.get(list_id)) is not None:
            await asyncio.wait([making], timeout=most_s)

    def tasks(self, caller: Caller, list_id: str) -> list[tuple[str, RunNote]]:
        """How the tasks of a list stand, in its order, each with its id; of a prompt it is `task-` and its place.

        Raises:
            RequestRefused: this token has no such list.
        """
        rows = sorted(self._desk.by_prefix(caller, _key(list_id, None)), key=_place)
        if not rows:
            raise RequestRefused(404, f"there is no task list {list_id[:40]}")
        return [(_label(row), self._desk.note(caller, row.id)) for row in rows]

    def _go_on(self, caller: Caller, list_id: str) -> None:
        task = asyncio.create_task(self._make(caller, list_id))
        self._making[list_id] = task
        task.add_done_callback(lambda _done: self._making.pop(list_id, None))

    async def _make(self, caller: Caller, list_id: str) -> None:
        """Begin each run of a list when its turn comes, until all have ended."""
        doing: set[asyncio.Task[None]] = set()
        begun: set[str] = set()
        try:
            while True:
                rows = sorted(self._desk.by_prefix(caller, _key(list_id, None)), key=_place)
                notes = {row.id: self._desk.note(caller, row.id) for row in rows}
                for row in rows:
                    before = self._before(row, rows) if notes[row.id].result is None and row.id not in begun else None
                    if before is not None and all(notes[each.id].result is not None for each in before):
                        begun.add(row.id)
                        work = self._do(caller, row, {_label(each): notes[each.id] for each in before})
                        doing.add(asyncio.create_task(work))
                if not doing:
                    return
                _, doing = await asyncio.wait(doing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in doing:
                task.cancel()

    def _before(self, row: RunRow, rows: list[RunRow]) -> list[RunRow]:
        """The runs that have to end before one begins: those that a task needs, or all that come before a prompt."""
        if not _name(row):
            return [each for each in rows if _place(each) < _place(row)]
        needs = asked_in(row).needs
        return [each for each in rows if _name(each) in needs]

    async def _do(self, caller: Caller, row: RunRow, before: dict[str, RunNote]) -> None:
        """Begin a run, unless it has begun or can't, and wait until it has ended."""
        if not self._desk.has_begun(caller, row.id):
            missing = [name for name, note in before.items() if note.state != "completed"]
            answers = {name: _answer(note) for name, note in before.items() if name not in missing}
            try:
                if missing and _name(row):
                    raise RequestRefused(409, f"it needs {', '.join(missing)}, which did not complete")
                await self._desk.begin(caller, row, answers)
            except (RLMError, msgspec.MsgspecError) as error:
                self._desk.drop(caller, row.id, ResultNote(status="failed", response="", error=str(error)))
        with suppress(RequestRefused):
            await self._desk.result(caller, row.id)


PREFIX = "list:"
"""What the keys of runs begin with that are of a list."""


def _key(list_id: str, place: int | None, name: str = "") -> str:
    """The key of a run of a list, with the id of its task if it has one; without a place, what all keys begin with."""
    return f"{PREFIX}{list_id}:" + ("" if place is None else f"{name}:{place}" if name else str(place))


def _name(row: RunRow) -> str:
    """The id of the task of a run; empty for a prompt."""
    parts = (row.key or "").split(":")
    return parts[2] if len(parts) == 4 else ""


def _label(row: RunRow) -> str:
    """By what the answer of a run is known to those after it."""
    return _name(row) or f"task-{_place(row) + 1}"


def _answer(note: RunNote) -> Json:
    if note.result is None:
        return None
    return note.result.response if note.result.value is None else note.result.value


def _faults(tasks: list[NewTask]) -> list[str]:
    """What keeps tasks from being run as a list."""
    listed = TaskList(tasks=tuple(ListedTask(each.id, each.prompt, needs=tuple(each.needs)) for each in tasks))
    return [str(fault) for fault in problems_of(GivenList(tasks=listed, folder=Path.cwd()))] if tasks else []


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
