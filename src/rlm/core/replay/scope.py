"""Where things are asked in a run: a completion, one of its turns, or a cell. The one place that decides whether a call
is served from the record of an earlier run or made; callers don't know that there are records.

A call is known by its scope and its key: a salted digest of what was asked, and how often the same was asked before in
that scope; threads may ask in any order. What is served is recorded again, marked so, and counted in the ledger; it is
never made again. A call that was under way when a run was cut off is made again, as often as runs are cut off: of the
spans with one key the last that came to an end has the answer. Where the record has nothing more the run goes on live.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rlm.core.error_texts import revived_limit
from rlm.core.events import ArtifactSaved, Limit, MessageAdded
from rlm.core.exceptions import LimitReached, ResumeError
from rlm.core.record.recorder import Span
from rlm.core.replay.cursor import Cursor
from rlm.core.replay.record import Earlier, Recorded, has_reply, reached_limit
from rlm.core.replay.serving import Halt
from rlm.core.types import ExecResult, Message, RunUsage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from rlm.core.budget import Ledger
    from rlm.core.events import Body
    from rlm.core.replay.serving import Recall

__all__ = ["Call", "Earlier", "Halt", "Scope"]

CELL_END_S = 60.0
"""How long a call that the record never answered in its cell may wait for the end of that cell."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """Something that is asked in a scope: a model call, a tool call, a child completion, or a cell."""

    kind: str
    """The kind of its span: model, tool, completion or exec."""
    key: str = ""
    """By which a record has it, as `Scope.key` gives it; empty for a cell, which is known by its order."""
    words: str
    """What is asked, for people; the code of a cell."""
    make: Callable[[Scope], Awaitable[T]]
    """Makes the call and records it, as the span of the scope that it is given."""
    read: Callable[[Earlier], T]
    """Takes the answer from a record; raises the error that the record has instead."""
    cut_off: Callable[[Any], Body] | None = None
    """The end of the recorded span that began so, and was cut off with its run; None where it is followed instead."""
    again: Callable[[bool], str] | None = None
    """What to tell the user where it is made again, for nobody knows what it came to. Raises `UnfinishedCall` where it
    may have changed things, and the user, as the argument says, didn't allow that it does so twice."""


class Scope:
    """A completion, a turn, a cell or a single call: its span, its ledger, and what a record has of it."""

    def __init__(self, cursor: Cursor, span: Span, recorded: Recorded | None = None, *, cell: int = 0) -> None:
        """`cell` is the number of the cell that this is; 0: it is no cell."""
        self.span = span
        self.cell = cell
        self._cursor = cursor
        self._recall = cursor.recall
        self._recorded = recorded
        self._asked: Counter[str] = Counter()
        self._left: dict[str, list[Recorded]] | None = None
        """The recorded calls that were not asked yet, by key; None until something is."""
        self._events: dict[str, Any] = {}
        self._refused: set[str] = set()

    @classmethod
    def of_completion(cls, recall: Recall, ledger: Ledger, span: Span, recorded: Recorded | None = None) -> Scope:
        """The scope of a completion, as it begins."""
        return cls(Cursor(recall, ledger, span, recorded), span, recorded)

    @property
    def ledger(self) -> Ledger:
        """The ledger of the completion."""
        return self._cursor.ledger

    @property
    def seed(self) -> int:
        """The seed of `random` in the cells of this completion, now and whenever they are run again."""
        return int(self.digest("random", self._cursor.span.id)[:12], 16)

    def digest(self, *parts: Any) -> str:
        """What was asked, so that it can be known again but not guessed from the record."""
        return self._recall.digest(*parts)

    def key(self, kind: str, *asked: Any) -> str:
        """The key of what is asked now; called once for each time it is asked, in the order of asking."""
        if self._recall.record is not None and self._recall.record.masked and self._recorded is not None:
            return self._key_by_place(kind)
        digest = self.digest(kind, *asked)
        self._asked[digest] += 1
        return f"{digest}/{self._asked[digest]}"

    async def answer(self, call: Call[T]) -> T:
        """The answer to a call: served from the record, and recorded again, or made and recorded.

        Raises:
            LimitReached: the budget has no room for it, now or in the record; guest code may go on.
            RLMError: it failed, now or in the record.
            Halt: the record has all that was asked here but not this; or this is a replay, and the record ends here.
        """
        try:
            return await self._answered(call)
        except LimitReached as limit:
            if self.cell:  # in a turn it ends the completion, which notes it
                self.refuse(call.key, limit)
            raise

    def refuse(self, key: str, limit: LimitReached, state: str = "refused") -> None:
        """Record, once, that a call of guest code got no answer: `refused`, or `cut` while it was under way."""
        if key in self._refused:
            return
        self._refused.add(key)
        known = self._outcome(key)
        body = Limit(name=limit.limit, state=state, message=str(limit), key=key) if known is None else known
        self._recall.recorder.record(self.span, body, served=known is not None)

    def cut(self, key: str) -> None:
        """Record that the cell ended before a call of it was answered."""
        body = Limit(name="", state="cut", message="its cell ended before it was answered", key=key)
        self._recall.recorder.record(self.span, body)

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of some sub-calls that the record has, answered or not; they are counted as they were then."""
        known = {key for key in keys if self._calls.get(key) or self._outcome(key) is not None}
        self.ledger.restore(RunUsage(subcalls=sum(map(self._was_counted, known))), 0.0)
        return known

    def last_kind(self, key: str) -> str | None:
        """The kind of span that the answer to a call has in the record."""
        calls = self._calls.get(key)
        return calls[-1].kind if calls else None

    def artifact(self, key: str) -> str | None:
        """The name under which the record has a file of guest code."""
        self._index()
        found = self._events.get(key)
        return found.name if isinstance(found, ArtifactSaved) else None

    def turn(self, number: int) -> Scope:
        """The scope of the next turn of this completion.

        Raises:
            LimitReached: the record says that a limit ended the completion here.
            Halt: this is a replay, and the record ends here.
        """
        recorded = self._cursor.begin_turn(number)
        return Scope(self._cursor, self._child_span(recorded), recorded)

    def completion(self, ledger: Ledger) -> Scope:
        """The scope of the child completion whose call this is."""
        return Scope.of_completion(self._recall, ledger, self.span, self._recorded)

    def dialect(self, own: str) -> str:
        """The dialect in which the model talks in this turn, or in which this completion began; `own` is that of the
        model that answers what is asked live.
        """
        if self._cursor.dialect is None or self._recorded is None:
            return own
        if self._recorded.kind != "turn":
            return self._cursor.dialect
        if not has_reply(self._recorded) or self._recorded.start is None:
            return own
        return self._recorded.start.body.dialect or self._cursor.dialect

    def added(self) -> tuple[Message, ...]:
        """What the user has to say before this turn; once, and to the root."""
        rules = self._recall.rules
        if not rules.addition or not self._cursor.is_live or self.ledger.parent is not None or self._recall.is_added:
            return ()
        self._recall.is_added = True
        return (Message(role="user", content=rules.addition),)

    def begins_with(self, purpose: str, *, otherwise: bool) -> bool:
        """Whether the first model call of this turn is for `purpose`."""
        calls = [] if self._recorded is None else self._recorded.of("model")
        if not calls or calls[0].start is None:
            return otherwise
        return bool(calls[0].start.body.purpose == purpose)

    def limits_near(self, now: Callable[[], list[Limit]], after: int) -> list[Limit]:
        """The limits that the model is told of after so many messages of this turn, recorded; `now` gives live ones."""
        recorded = None if self._cursor.is_live else self._recorded
        is_told = recorded is not None and (recorded.end is not None or len(recorded.bodies(MessageAdded)) > after)
        if recorded is not None and is_told:
            limits = [event.body for event in recorded.bodies(Limit) if event.body.state == "near"]
        else:
            limits = now()
        for limit in limits:
            self._recall.recorder.record(self._cursor.span, limit, served=is_told)
        return limits

    def messages(self, live: Sequence[Message], notices: Sequence[Message] = ()) -> list[Message]:
        """What joins the conversation in this turn, or before the first one, as the model sees it.

        `notices` come after the others. Raises:
            Diverged: what a cell or tool gave is not what the record says.
        """
        if self._cursor.is_live or self._recorded is None:
            return [*live, *notices]
        if self._recorded.kind == "completion":
            return self._cursor.first_messages(self._recorded, live)
        return self._cursor.turn_messages(self._recorded, live, notices)

    @property
    def _is_sealed(self) -> bool:
        """Whether the record has all that was asked here."""
        return bool(self.cell) and self._recorded is not None and self._recorded.has_ended

    async def _answered(self, call: Call[T]) -> T:
        if call.kind == "exec":
            self._cursor.cells += 1
        while (recorded := self._next(call)) is not None:
            if self._is_served(recorded):
                self._recall.copy(recorded, self.ledger)
                return call.read(self._recall.earlier(recorded))
            if self._runs_again(recorded):
                return await self._run_again(call, recorded)
            await self._pass_over(call, recorded)
        if (limit := self._outcome(call.key)) is not None:
            if not limit.name:
                await _cell_end()
            raise revived_limit(limit.name, limit.message)
        self._go_live(call)
        return await call.make(self._inside(call, None))

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
            self._leave()
        inside = self._inside(call, recorded)
        now = await call.make(inside)
        if inside._is_sealed and isinstance(now, ExecResult):
            then = call.read(self._recall.earlier(recorded))
            assert isinstance(then, ExecResult)
            self._cursor.compare(inside.cell, then, now)
        return now

    async def _pass_over(self, call: Call[T], recorded: Recorded) -> None:
        """Deal with a recorded call of which nobody knows what it came to.

        Raises:
            Halt: it may have had effects, and nobody said that it may have them twice.
        """
        if self._ended_the_run(recorded):
            return  # nothing was billed
        self._repeat(call, recorded)
        if self._calls.get(call.key) or self._outcome(call.key) is not None:
            return  # it was made again by a run that resumed that one, or got no answer
        if self._is_sealed:
            await _cell_end()
        if call.again is None:
            return
        try:
            self._recall.warn(call.again(self._recall.rules.redo_unfinished))
        except ResumeError as error:
            raise Halt(error) from None

    def _repeat(self, call: Call[T], recorded: Recorded) -> None:
        """Record a call again that was given up, with an end if it has none."""
        if recorded.end is None and recorded.start is not None and call.cut_off is not None:
            self._recall.close(recorded, call.cut_off(recorded.start.body), self.ledger)
        else:
            self._recall.copy(recorded, self.ledger)

    def _ended_the_run(self, recorded: Recorded) -> bool:
        """Whether the completion ended by this failed model call, or was resumed by making it again."""
        if self._recorded is None or recorded.key != "turn" or recorded.end is None:
            return False
        if recorded.end.body.error is None or not recorded.has_ended:
            return False
        calls = self._recorded.of("model")
        after = calls[calls.index(recorded) + 1 :]
        return not after or after[0].key != "compaction"

    def _go_live(self, call: Call[T]) -> None:
        """Ask something that the record hasn't.

        Raises:
            Halt: the record has all that was asked here, so this is a divergence; or this is a replay.
            LimitReached: the record says that a limit kept it from being asked.
        """
        if self._is_sealed:
            self._cursor.stray(self.cell, call.words)
        else:
            self._leave()
        if self._recall.is_replay:
            raise Halt(ResumeError("the record ends here"))

    def _leave(self) -> None:
        if self._recorded is not None and self._recorded.kind == "turn":
            self._cursor.go_live()

    def _inside(self, call: Call[T], recorded: Recorded | None) -> Scope:
        """The scope of a call itself."""
        cell = self._cursor.cells if call.kind == "exec" else 0
        return Scope(self._cursor, self._child_span(recorded), recorded, cell=cell)

    def _child_span(self, recorded: Recorded | None) -> Span:
        """A new span in this one; a recorded one keeps its id."""
        return self.span.child() if recorded is None else Span(recorded.id, self.span.id)

    def _next(self, call: Call[T]) -> Recorded | None:
        """The next recorded span of that call; each is given once."""
        if call.kind == "exec":
            return self._next_cell(call.words)
        spans = self._calls.get(call.key, [])
        while spans and spans[0].kind != call.kind and spans[-1].kind == call.kind:  # a child that had no room later
            self._recall.copy(spans.pop(0), self.ledger)
        return spans.pop(0) if spans and spans[0].kind == call.kind else None

    def _next_cell(self, code: str) -> Recorded | None:
        cells = [] if self._cursor.is_live else self._calls.get("", [])
        recorded = cells.pop(0) if cells else None
        if recorded is None or recorded.start is None:
            return recorded
        return recorded if self._cursor.follows_code(code, self._recall.read(recorded.start).code) else None

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
            for event in () if self._recorded is None else self._recorded.events:
                asked: str | None = getattr(event.body, "key", None)
                known = self._events.get(asked or "")
                if asked is not None and not (isinstance(known, Limit) and known.state == "refused"):
                    self._events[asked] = event.body
        return self._left

    def _recorded_calls(self) -> list[Recorded]:
        """What was called here. In a completion that is its landing, the last one, once the record's end is reached."""
        if self._recorded is None:
            return []
        calls = [child for child in self._recorded.children if child.kind in _CALLS]
        if self._recorded.kind != "completion":
            return calls
        limit = reached_limit(self._recorded) if self._cursor.is_at_end else None
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
