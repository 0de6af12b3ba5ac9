"""A completion, a turn or a cell of which there is a record; the one place that decides between serving and calling.

What is served is recorded again, marked so, and counted in the ledger; it is never made again. A call that was under
way when a run was cut off is made again, as often as runs are cut off: of the spans with one key the last that came to
an end has the answer. Where the record has nothing more the run goes on live.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from rlm.core.error_texts import revived, revived_limit
from rlm.core.events import Advised, ArtifactSaved, Limit, MessageAdded, ModelEnd
from rlm.core.exceptions import LimitReached, ResumeError, ToolsRefusedError
from rlm.core.record.recorder import Span
from rlm.core.replay.cursor import Cursor
from rlm.core.replay.record import Recorded, has_reply, reached_limit
from rlm.core.replay.scope import Scope
from rlm.core.replay.serving import Halt
from rlm.core.types import INTERACTIVE, ExecResult, RunUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rlm.core.budget import Ledger
    from rlm.core.replay.scope import Call
    from rlm.core.replay.serving import Recall
    from rlm.core.types import Message

CELL_END_S = 60.0
"""How long a call that the record never answered in its cell may wait for the end of that cell."""

T = TypeVar("T")


def root_scope(recall: Recall, ledger: Ledger) -> Scope:
    """The scope of the root completion of a run."""
    span = recall.recorder.root
    if recall.record is None:
        return Scope(recall, ledger, span)
    root = recall.record.root
    return RecordedScope(Cursor(recall, ledger, span, root), span, root)


class RecordedScope(Scope):
    """A scope with what the record of an earlier run has of it."""

    def __init__(self, cursor: Cursor, span: Span, recorded: Recorded, *, cell: int = 0) -> None:
        """`cell` is the number of the cell that this is; 0: it is no cell."""
        super().__init__(cursor.recall, cursor.ledger, span, is_cell=bool(cell))
        self._cell = cell
        self._cursor = cursor
        self._recorded = recorded
        self._left: dict[str, list[Recorded]] | None = None
        """The recorded calls that were not asked yet, by key; None until something is."""
        self._events: dict[str, Any] = {}
        """The last event of each key in this span itself: refusals, and files that were saved."""

    async def key(self, kind: str, *asked: Any) -> str:
        """See `Scope.key`; by its place alone where the texts of the record are masked."""
        assert self._recall.record is not None
        return self._key_by_place(kind) if self._recall.record.masked else await super().key(kind, *asked)

    async def answer(self, call: Call[T]) -> T:
        """See `Scope.answer`."""
        try:
            return await self._answered(call)
        except LimitReached as limit:
            self._note(call, limit)
            raise

    def refuse(self, key: str, limit: LimitReached, state: str = "refused", asked: str = "") -> None:
        """See `Scope.refuse`; what the record says of it is recorded again."""
        known = self._outcome(key)
        if known is None:
            super().refuse(key, limit, state, asked)
        elif key not in self._refused:
            self._refused.add(key)
            self._recall.recorder.record(self.span, known, served=True)

    def known(self, keys: Iterable[str]) -> set[str]:
        """See `Scope.known`."""
        known = {key for key in keys if self._calls.get(key) or self._outcome(key) is not None}
        self.ledger.restore(RunUsage(subcalls=sum(map(self._was_counted, known))), 0.0)
        return known

    def last_kind(self, key: str) -> str | None:
        """See `Scope.last_kind`."""
        calls = self._calls.get(key)
        return calls[-1].kind if calls else None

    def artifact(self, key: str) -> str | None:
        """See `Scope.artifact`."""
        self._index()
        found = self._events.get(key)
        return found.name if isinstance(found, ArtifactSaved) else None

    async def turn(self, number: int) -> Scope:
        """See `Scope.turn`."""
        recorded = await self._cursor.begin_turn(number)
        return await super().turn(number) if recorded is None else self._child(recorded)

    def completion(self, ledger: Ledger) -> Scope:
        """See `Scope.completion`."""
        cursor = Cursor(self._recall, ledger, self.span, self._recorded)
        return RecordedScope(cursor, self.span, self._recorded)

    def dialect(self, own: str) -> str:
        """See `Scope.dialect`."""
        if self._cursor.dialect is None:
            return own
        if self._recorded.kind != "turn":
            return self._cursor.dialect
        if not has_reply(self._recorded) or self._recorded.start is None:
            return own
        return self._recorded.start.body.dialect or self._cursor.dialect

    def added(self) -> tuple[Message, ...]:
        """Nothing while the record is followed: it has what was added."""
        return ()

    def is_free(self, number: int) -> bool:
        """See `Scope.is_free`."""
        begins_anew = self._recall.is_anew and self._asks_now
        return begins_anew or self._cursor.has_turn(number)

    def is_asked_on(self) -> bool:
        """See `Scope.is_asked_on`; in the record nothing else is said after an answer."""
        return self._asks_now or (not self._cursor.is_live and bool(self._recorded.bodies(MessageAdded)))

    def begins_with(self, purpose: str, *, otherwise: bool) -> bool:
        """See `Scope.begins_with`."""
        calls = self._recorded.of("model")
        if not calls or calls[0].start is None:
            return otherwise
        return bool(calls[0].start.body.purpose == purpose)

    def limits_near(self, now: Callable[[], Iterable[Limit]], after: int) -> list[Limit]:
        """See `Scope.limits_near`."""
        if not self._was_told(after):
            return super().limits_near(now, after)
        limits = [event.body for event in self._recorded.bodies(Limit) if event.body.state == "near"]
        for limit in limits:
            self._recall.recorder.record(self._cursor.span, limit, served=True)
        return limits

    def advice(self, now: Callable[[], Iterable[Advised]], after: int | None = None) -> list[Advised]:
        """See `Scope.advice`."""
        if not self._was_told(after):
            return super().advice(now, after)
        advised = [event.body for event in self._recorded.bodies(Advised)]
        advised = [each for each in advised if (each.way == "held") == (after is None)]
        for each in advised:
            self._recall.recorder.record(self._cursor.span, each, served=True)
        return advised

    async def messages(self, live: Sequence[Message], notices: Sequence[Message] = ()) -> list[Message]:
        """See `Scope.messages`."""
        if self._cursor.is_live:
            return await super().messages(live, notices)
        if self._recorded.kind == "completion":
            return await self._cursor.first_messages(self._recorded, live)
        return await self._cursor.turn_messages(self._recorded, live, notices)

    @property
    def _asks_now(self) -> bool:
        """Whether the user has something to say that wasn't said yet, in this completion."""
        return self.ledger.parent is None and self._recall.has_addition

    @property
    def _is_sealed(self) -> bool:
        """Whether the record has all that was asked here."""
        return self._is_cell and self._recorded.has_ended

    def _was_told(self, after: int | None) -> bool:
        """Whether the record has what the model was told in this turn, after so many messages."""
        if self._cursor.is_live:
            return False
        told = len(self._recorded.bodies(MessageAdded))
        return self._recorded.end is not None or (after is not None and told > after)

    async def _answered(self, call: Call[T]) -> T:
        if call.kind == "exec":
            self._cursor.cells += 1
        if (limit := self._outcome(call.key)) is not None:
            raise await self._kept_from(call, limit)
        while (recorded := await self._next(call)) is not None:
            if self._is_served(recorded):
                await self._recall.copy(recorded, self.ledger)
                return call.read(self._recall.earlier(recorded))
            if self._runs_again(recorded):
                return await self._run_again(call, recorded)
            await self._pass_over(call, recorded)
        await self._go_live(call)
        return await super().answer(call)

    async def _kept_from(self, call: Call[T], limit: Limit) -> Exception:
        """What kept a call from its answer, be there a reply that came too late for the cell."""
        for recorded in self._calls.pop(call.key, []):
            await self._repeat(call, recorded)
        if not limit.name:
            await _cell_end()
        return revived_limit(limit.name, limit.message)

    def _is_served(self, recorded: Recorded) -> bool:
        """Whether a recorded call has the answer, and need not be run again."""
        if recorded.kind == "exec":
            return recorded.has_ended and self._cursor.is_lost(self._cursor.cells)
        if recorded.kind == "completion" and self._recall.is_replay:
            return False
        return recorded.has_ended and not self._ended_the_run(recorded)

    def _runs_again(self, recorded: Recorded) -> bool:
        """Whether a recorded call is a cell or a child, to be followed in its own record."""
        if recorded.kind == "completion":
            return recorded.has_ended or not (self._is_sealed or self._calls.get(recorded.key or ""))
        return recorded.kind == "exec"

    async def _run_again(self, call: Call[T], recorded: Recorded) -> T:
        if recorded.kind == "exec" and not recorded.has_ended:
            await self._leave()
        cell = self._cursor.cells if recorded.kind == "exec" else 0
        now = await call.make(self._child(recorded, cell))
        if isinstance(now, ExecResult) and recorded.has_ended:
            then = call.read(self._recall.earlier(recorded))
            assert isinstance(then, ExecResult)
            await self._cursor.compare(cell, then, now)
        return now

    async def _pass_over(self, call: Call[T], recorded: Recorded) -> None:
        """Deal with a recorded call of which nobody knows what it came to.

        Raises:
            Halt: it may have had effects, and nobody said that it may have them twice.
        """
        end = None if recorded.end is None else recorded.end.body
        ended_the_run = self._ended_the_run(recorded)
        if not ended_the_run or (isinstance(end, ModelEnd) and end.usage.total_tokens):
            await self._repeat(call, recorded)
        if ended_the_run:
            return
        if self._calls.get(call.key):
            return  # it was made again by a run that resumed that one
        if self._is_sealed:
            await _cell_end()
        if call.again is None:
            return
        try:
            self._recall.warn(call.again(self._recall.rules.redo_unfinished))
        except ResumeError as error:
            raise Halt(error) from None

    async def _repeat(self, call: Call[T], recorded: Recorded) -> None:
        """Record a call again that was given up, with an end if it has none."""
        if recorded.end is None and recorded.start is not None and call.cut_off is not None:
            await self._recall.close(recorded, call.cut_off(recorded.start.body), self.ledger)
        else:
            await self._recall.copy(recorded, self.ledger)

    def _ended_the_run(self, recorded: Recorded) -> bool:
        """Whether the completion ended by this failed model call, or was resumed by making it again."""
        if recorded.key != "turn" or recorded.end is None:
            return False
        if recorded.end.body.error is None or not recorded.has_ended:
            return False
        if isinstance(revived(recorded.end.body.error), ToolsRefusedError) and not self._cursor.is_at_end:
            return False  # the completion went on without tools
        calls = self._recorded.of("model")
        after = calls[calls.index(recorded) + 1 :]
        return not after or after[0].key != "compaction"

    async def _go_live(self, call: Call[T]) -> None:
        """Ask something that the record hasn't.

        Raises:
            Halt: the record has all that was asked here, so this is a divergence; or this is a replay.
            LimitReached: the record says that a limit kept it from being asked.
        """
        if self._is_sealed:
            self._cursor.stray(self._cell, call.words)
        else:
            await self._leave()
        if self._recall.is_replay:
            raise Halt(ResumeError("the record ends here"))

    async def _leave(self) -> None:
        if self._recorded.kind == "turn":
            await self._cursor.go_live()

    def _child(self, recorded: Recorded, cell: int = 0) -> RecordedScope:
        """The scope of a recorded turn, cell or child; its span keeps its id."""
        return RecordedScope(self._cursor, Span(recorded.id, self.span.id), recorded, cell=cell)

    async def _next(self, call: Call[T]) -> Recorded | None:
        """The next recorded span of that call; each is given once."""
        if call.kind == "exec":
            return await self._next_cell(call.words)
        spans = self._calls.get(call.key, [])
        while spans and spans[0].kind != call.kind and spans[-1].kind == call.kind:  # a child that had no room later
            await self._recall.copy(spans.pop(0), self.ledger)
        return spans.pop(0) if spans and spans[0].kind == call.kind else None

    async def _next_cell(self, code: str) -> Recorded | None:
        cells = [] if self._cursor.is_live else self._calls.get("", [])
        recorded = cells.pop(0) if cells else None
        if recorded is None or recorded.start is None:
            return recorded
        return recorded if await self._cursor.follows_code(code, self._recall.read(recorded.start).code) else None

    def _outcome(self, key: str) -> Limit | None:
        """The limit that kept a call from an answer in the record."""
        self._index()
        found = self._events.get(key)
        if not isinstance(found, Limit) or (found.state == "cut" and not self._is_sealed):
            return None
        return found

    def _was_counted(self, key: str) -> bool:
        """Whether the record counts a call as a sub-call."""
        limit = self._outcome(key)
        return limit is None or limit.state != "refused" or limit.name not in ("subcall_budget", "timeout_s")

    @property
    def _calls(self) -> dict[str, list[Recorded]]:
        """The recorded calls that were not asked yet, by key."""
        return self._index()

    def _index(self) -> dict[str, list[Recorded]]:
        if self._left is None:
            self._left = {}
            for child in self._recorded_calls():
                self._left.setdefault(child.key or "", []).append(child)
            for event in self._recorded.events:
                asked: str | None = getattr(event.body, "key", None)
                known = self._events.get(asked or "")
                if asked is not None and not (isinstance(known, Limit) and known.state == "refused"):
                    self._events[asked] = event.body
        return self._left

    def _recorded_calls(self) -> list[Recorded]:
        """What was called here. In a completion that is its landing, the last one, once the record's end is reached."""
        calls = [child for child in self._recorded.children if child.kind in _CALLS]
        if self._recorded.kind != "completion" or self._cursor.dialect == INTERACTIVE:
            return calls
        is_followed = self._cursor.is_at_end and not self._cursor.is_live
        limit = reached_limit(self._recorded) if is_followed else None
        if limit is None:
            return []
        return [call for call in calls if call.start is not None and call.start.at >= limit.at]

    def _key_by_place(self, kind: str) -> str:
        """Without the salt: the key of the next call of that kind, in the order of the record."""
        sort = _SORTS.get(kind, kind)
        calls = [child for child in self._recorded_calls() if _SORTS.get(child.kind, child.kind) == sort]
        keys = list(dict.fromkeys(child.key or "" for child in calls))
        number = self._asked[sort]
        self._asked[sort] += 1
        return keys[number] if number < len(keys) else f"{sort}/{number}"


_CALLS = frozenset({"model", "tool", "completion", "exec"})
_SORTS = {"llm_query": "query", "rlm_query": "query", "model": "query", "completion": "query"}
"""Kinds of calls and of spans that may stand for each other: a child may have been a plain call."""


async def _cell_end() -> None:
    """Wait for the end of the cell, which came before the answer; it is near.

    Raises:
        TimeoutError: it did not come.
    """
    await asyncio.sleep(CELL_END_S)
    raise TimeoutError("the record has no answer to this call: its cell ended before")
