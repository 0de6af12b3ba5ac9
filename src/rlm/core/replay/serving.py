"""The record that one run serves from, if it has one: what it answers, what of it is recorded again and counted, and
what the user's rules say where it is no help. Which call is served is decided by `following`.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from rlm.core.events import ExecOutput, ModelEnd, ModelRetry, Warned
from rlm.core.exceptions import ResumeError
from rlm.core.memo import Answered
from rlm.core.record.recorder import Span
from rlm.core.replay.record import Earlier, Record, Recorded, is_answer, spent_by, spent_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.budget import Ledger
    from rlm.core.clock import RunClock
    from rlm.core.events import Body, Event
    from rlm.core.notes import ImageNote
    from rlm.core.record.recorder import Recorder
    from rlm.core.types import Json

_AT_A_TIME = 100
"""How many events of a record are read at a time, for each may be large."""

OnDivergence: TypeAlias = Literal["stop", "continue", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRules:
    """What a resumed run does where its record is no help."""

    on_divergence: OnDivergence = "stop"
    """Where something differs: stop; continue live from there; or report it and follow the record, at no cost."""
    redo_unfinished: bool = False
    """Call a tool again that may change things and was called but never answered."""
    addition: str = ""
    """What the user says where the run goes on live."""
    unheard: tuple[str, ...] = ()
    """What was said to the run in progress, and no turn had begun with when it was cut off."""
    anew: bool = False
    """That is another question, with caps of its own: what the record has spent counts against none."""

    @property
    def is_replay(self) -> bool:
        """Everything runs again, children too, to be held against the record."""
        return self.on_divergence == "report"


class Halt(Exception):
    """Carries a `ResumeError` past guest code and models, which must not take it for an answer."""

    def __init__(self, error: ResumeError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that came out otherwise than in the record."""

    depth: int
    turn: int
    cell: int
    """The number of the cell; 0: it was outside of cells."""
    what: str
    """What differs: code, status, output, error, changed, final, sub-call or messages."""
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay found."""

    cells: int = 0
    """Cells that ran again."""
    served: int = 0
    """Model and tool calls answered from the record."""
    differences: tuple[Difference, ...] = ()
    masked: bool = False
    """Texts of the record are masked, and the exact ones are gone: that alone makes differences."""


class Recall:
    """The record that one run serves from, if it has one, and the keys under which it writes its own."""

    def __init__(
        self,
        recorder: Recorder,
        salt: bytes,
        record: Record | None = None,
        rules: ReplayRules | None = None,
        *,
        clock: RunClock | None = None,
    ) -> None:
        """`clock` is that of the run, which stands while it is paused."""
        self.recorder = recorder
        self.record = record
        self.rules = rules or ReplayRules()
        self._clock = clock
        self._additions = [text for text in (self.rules.addition, *self.rules.unheard) if text]
        self.is_anew = self.rules.anew
        """Whether another question, with caps of its own, is still to come."""
        self.secret = salt
        self._cells = 0
        self._served = 0
        self._differences: list[Difference] = []
        self._repeated: set[str] = set()
        """The model spans of the record that this run's own has."""
        self._spans: dict[str, Recorded] = {}
        self._by_digest: dict[str, Recorded] = {}
        if record is not None:
            self._spans = {span.id: span for span in record.root.spans() if span.kind == "model"}
            answers = (span for span in self._spans.values() if is_answer(span))
            self._by_digest = {span.start.body.digest: span for span in answers if span.start is not None}

    @property
    def salt(self) -> str | None:
        """The salt as the record may tell it; None where texts are masked, for it would help to guess them."""
        return None if self.recorder.is_masking else self.secret.hex()

    @property
    def report(self) -> ReplayReport:
        """What was found so far."""
        return ReplayReport(
            cells=self._cells,
            served=self._served,
            differences=tuple(self._differences),
            masked=self.record is not None and self.record.masked,
        )

    @property
    def is_replay(self) -> bool:
        """See `ReplayRules.is_replay`."""
        return self.rules.is_replay

    @property
    def has_addition(self) -> bool:
        """Whether the user has something to say that wasn't said yet."""
        return bool(self._additions)

    def say(self, text: str) -> None:
        """Have the root's next turn begin with a message of the user."""
        self._additions.append(text)

    def take_additions(self) -> tuple[str, ...]:
        """What the user says where the run goes on live; each once."""
        texts, self._additions = tuple(self._additions), []
        return texts

    def begin_anew(self) -> bool:
        """Whether another question begins now, with caps of its own; once."""
        is_anew, self.is_anew = self.is_anew, False
        return is_anew

    async def going(self) -> None:
        """Wait while the run is paused."""
        if self._clock is not None:
            await self._clock.going()

    def digest(self, *parts: Any) -> str:
        """What was asked, so that it can be known again but not guessed from the record."""
        return hmac.new(self.secret, repr(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]

    def read(self, event: Event) -> Any:
        """The body of an event of the record, whole and exact."""
        assert self.record is not None
        return self.record.source.read(event)

    def earlier(self, recorded: Recorded) -> Earlier:
        """What the record has of a call that has ended."""
        assert recorded.end is not None
        end = self.read(recorded.end)
        if isinstance(end, ModelEnd) and end.same_as is not None:
            end = self._with_reply(end, end.same_as)
        output = "".join(self.read(event).text for event in recorded.bodies(ExecOutput))
        return Earlier(end=end, output=output, value=_given(recorded, self.read))

    def known(self, call_key: str) -> Answered | None:
        """The reply in the record to an identical sub-call."""
        found = self._by_digest.get(self.digest(call_key)) if self._by_digest else None
        if found is None or found.end is None:
            return None
        span = found.id if found.id in self._repeated else None
        return Answered(reply=self.read(found.end).reply, span=span, fresh=False)

    async def copy(self, recorded: Recorded, ledger: Ledger) -> None:
        """Record a part of the record again, and count what it spent."""
        events = list(recorded.walk())
        for start in range(0, len(events), _AT_A_TIME):
            some = events[start : start + _AT_A_TIME]
            bodies = [(Span(event.span, event.parent), self.read(event)) for event in some]
            for _span, body in bodies:
                self._copy_images(body)
            await self.recorder.record_served(bodies)
        spent = spent_by(recorded, ledger.depth)
        ledger.restore(spent.usage, spent.cost_usd)
        calls = [span for span in recorded.spans() if span.kind in ("model", "tool")]
        self._served += len(calls)
        self._repeated |= {call.id for call in calls}

    async def close(self, recorded: Recorded, end: Body, ledger: Ledger) -> None:
        """Record a call that was cut off with its run, with `end` as its end, and count what it may have cost."""
        await self.copy(recorded, ledger)
        if isinstance(end, ModelEnd):
            end = end.beside(event.body for event in recorded.bodies(ModelRetry))
        self.recorder.record(Span(recorded.id, recorded.parent), end, served=True)
        if isinstance(end, ModelEnd):
            spent = spent_on(end, ledger.depth)
            ledger.restore(spent.usage, spent.cost_usd)

    def differs(self, difference: Difference) -> None:
        """Report a difference."""
        self._differences.append(difference)

    def count_cell(self) -> None:
        """Report a cell that ran again."""
        self._cells += 1

    def warn(self, message: str) -> None:
        """Tell the user something, in the record of the run."""
        self.recorder.record(self.recorder.root, Warned(message=message))

    def _with_reply(self, end: ModelEnd, span: str) -> ModelEnd:
        """The end of a recalled call with the reply that it shares with the paid one of that span."""
        found = self._spans.get(span)
        if found is None or found.end is None:
            raise ResumeError(f"the record has a reply that is the same as that of the span {span}, which is not in it")
        paid = self.read(found.end)
        return msgspec.structs.replace(end, text=paid.text, finish=paid.finish)

    def _copy_images(self, body: Any) -> None:
        notes: list[ImageNote] = getattr(body, "images", None) or []
        for note in notes:
            assert self.record is not None
            if (content := self.record.source.image(note.digest)) is not None:
                self.recorder.store(content)


def _given(recorded: Recorded, read: Callable[[Event], Any]) -> Json:
    """The value that a cell of a completion gave as its answer; None where the answer was a reply."""
    cells = [cell for turn in recorded.of("turn") for cell in turn.of("exec")]
    if not cells or cells[-1].end is None:
        return None
    final = read(cells[-1].end).final
    return None if final is None else final.value
