"""Where things are asked in a run: a completion, one of its turns, or a cell. All that the loop and its calls know of
records: a scope answers each call, and decides whether it is made or comes from the record of an earlier run. This one
makes every call; `following` has the one that follows a record.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rlm.core.events import Advised, Limit
from rlm.core.exceptions import LimitReached
from rlm.core.off_loop import off_loop_if_large
from rlm.core.replay.record import Earlier
from rlm.core.replay.serving import Halt
from rlm.core.types import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from rlm.core.budget import Ledger
    from rlm.core.events import Body
    from rlm.core.record.recorder import Span
    from rlm.core.replay.serving import Recall

__all__ = ["Call", "Earlier", "Halt", "Scope"]

T = TypeVar("T")

EXCERPT_CHARS = 200
"""How much the record has of what a refused call asked."""


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
    """A completion, a turn, a cell or a single call: its span, its ledger, and how what is asked in it is answered."""

    def __init__(self, recall: Recall, ledger: Ledger, span: Span, *, is_cell: bool = False) -> None:
        """`ledger` is that of the completion."""
        self.ledger = ledger
        self.span = span
        self._recall = recall
        self._is_cell = is_cell
        self._asked: Counter[str] = Counter()
        self._refused: set[str] = set()

    @property
    def seed(self) -> int:
        """The seed of `random` in the cells of this completion, now and whenever they are run again."""
        return int(self._recall.digest("random", self.span.id)[:12], 16)

    def digest(self, *parts: Any) -> str:
        """What was asked, so that it can be known again but not guessed from the record."""
        return self._recall.digest(*parts)

    async def key(self, kind: str, *asked: Any) -> str:
        """The key of what is asked now: a digest of it, and how often the same was asked before in this scope.

        Called once for each time it is asked, in the order of asking; threads may ask in any order.
        """
        digest = await off_loop_if_large(self.digest, kind, *asked)
        self._asked[digest] += 1
        return f"{digest}/{self._asked[digest]}"

    async def answer(self, call: Call[T]) -> T:
        """The answer to a call: served from the record, and recorded again, or made and recorded; while the run is
        paused, none is made.

        Raises:
            LimitReached: the budget has no room for it, now or in the record; guest code may go on.
            RLMError: it failed, now or in the record.
            Halt: a record has all that was asked here but not this; or this is a replay, and the record ends here.
        """
        inside = Scope(self._recall, self.ledger, self.span.child(), is_cell=call.kind == "exec")
        try:
            await self._recall.going()
            return await call.make(inside)
        except LimitReached as limit:
            self._note(call, limit)
            raise

    def refuse(self, key: str, limit: LimitReached, state: str = "refused", asked: str = "") -> None:
        """Record, once, that a call of guest code got no answer: `refused`, or `cut` while it was under way; of what it
        `asked`, the beginning."""
        if key not in self._refused:
            self._refused.add(key)
            recorder = self._recall.recorder
            excerpt = recorder.beginning(asked, EXCERPT_CHARS)
            body = Limit(name=limit.limit, state=state, message=str(limit), key=key, asked=excerpt)
            recorder.record(self.span, body)

    def cut(self, key: str) -> None:
        """Record that the cell ended before a call of it was answered."""
        body = Limit(name="", state="cut", message="its cell ended before it was answered", key=key)
        self._recall.recorder.record(self.span, body)

    def known(self, keys: Iterable[str]) -> set[str]:  # noqa: ARG002 - nothing is known without a record
        """Those of some sub-calls that the record has, answered or not; they are counted as they were then."""
        return set()

    def last_kind(self, key: str) -> str | None:  # noqa: ARG002 - as `known`
        """The kind of span that the answer to a call has in the record."""
        return None

    def artifact(self, key: str) -> str | None:  # noqa: ARG002 - as `known`
        """The name under which the record has a file of guest code."""
        return None

    async def turn(self, number: int) -> Scope:  # noqa: ARG002 - as `known`
        """The scope of the next turn of this completion.

        Raises:
            LimitReached: the record says that a limit ended the completion here.
            Halt: this is a replay, and the record ends here.
        """
        return Scope(self._recall, self.ledger, self.span.child())

    def completion(self, ledger: Ledger) -> Scope:
        """The scope of the child completion whose call this is."""
        return Scope(self._recall, ledger, self.span)

    def dialect(self, own: str) -> str:
        """The dialect in which the model talks in this turn, or in which this completion began; `own` is that of the
        model that answers what is asked live.
        """
        return own

    def added(self) -> tuple[Message, ...]:
        """What the user has to say before this turn, each message once, and to the root."""
        if self.ledger.parent is not None:
            return ()
        return tuple(Message(role="user", content=text) for text in self._recall.take_additions())

    def begins_anew(self) -> bool:
        """Whether this turn, before which the user said something, begins another question, with caps of its own."""
        return self._recall.begin_anew()

    def is_free(self, number: int) -> bool:  # noqa: ARG002 - as `known`
        """Whether no cap on turns matters to that turn of this completion: it is in the record, or begins anew."""
        return False

    def is_asked_on(self) -> bool:
        """Whether the user asks another question after the answer that this turn gave."""
        return False

    def begins_with(self, purpose: str, *, otherwise: bool) -> bool:  # noqa: ARG002 - as `known`
        """Whether the first model call of this turn is for `purpose`: as the record has it, or else `otherwise`."""
        return otherwise

    def limits_near(self, now: Callable[[], Iterable[Limit]], after: int) -> list[Limit]:  # noqa: ARG002 - as `known`
        """The limits that the model is told of after so many messages of this turn, recorded; `now` gives live ones."""
        return list(now())

    def advice(self, now: Callable[[], Iterable[Advised]], after: int | None = None) -> list[Advised]:  # noqa: ARG002 - as `known`
        """What the runtime has to say in this turn, recorded; `now` gives it live. Without `after` in place of taking
        an answer, else after so many messages of this turn.
        """
        return list(now())

    async def messages(self, live: Sequence[Message], notices: Sequence[Message] = ()) -> list[Message]:
        """What joins the conversation in this turn, or before the first one, as the model sees it.

        `notices` come after the others. Raises:
            Diverged: what a cell or tool gave is not what the record says.
        """
        return [*live, *notices]

    def _note(self, call: Call[T], limit: LimitReached) -> None:
        """Record what keeps a call of a cell from an answer; in a turn it ends the completion, which records it."""
        if self._is_cell:
            self.refuse(call.key, limit, asked=call.words)
