"""Serves what came from outside a REPL from the record of an earlier run: model replies, sub-calls, tools, messages.

A call is known by its place (completion, turn, cell) and its key: a salted digest of what was asked, and how often the
same was asked before in that place; threads may ask in any order. What is served is recorded again, marked so, and
counted in the ledger; it is never called again. Where the record has nothing more the run goes on live. Where the run
does something else than the record says, `ReplayRules` tell what happens.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rlm.core.events import ArtifactSaved, Limit, Warned
from rlm.core.exceptions import ResumeError
from rlm.core.memo import Answered
from rlm.core.outcome import Outcome
from rlm.core.record.recorder import Span
from rlm.core.replay.record import Record, Recorded, is_paid_answer, revived, spent_by, worst_case
from rlm.core.types import ModelReply, RunUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.budget import Ledger
    from rlm.core.events import CompletionEnd, Event, ModelEnd
    from rlm.core.notes import ImageNote
    from rlm.core.record.recorder import Recorder
    from rlm.core.types import Price

CELL_END_S = 60.0
"""How long a call that the record never answered in its cell may wait for the end of that cell."""

OnDivergence: TypeAlias = Literal["stop", "continue", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRules:
    """What a resumed run does where its record is no help."""

    on_divergence: OnDivergence = "stop"
    """stop; continue live from there; or report and follow the record on, which pays for nothing."""
    redo_unfinished: bool = False
    """Call a tool again that may change things and was called but never answered."""
    addition: str = ""
    """What the user says where the run goes on live."""


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
    """0: not in a cell."""
    what: str
    """code, status, output, error, changed, final, sub-call or messages."""
    before: str
    after: str


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """What a replay found."""

    cells: int = 0
    served: int = 0
    """Model and tool calls answered from the record."""
    differences: list[Difference] = field(default_factory=list)
    masked: bool = False
    """Texts of the record are masked, and the exact ones are gone: that alone makes differences."""


class Recall:
    """The record that one run serves from, if it has one, and the keys under which it writes its own."""

    def __init__(
        self, recorder: Recorder, salt: bytes, record: Record | None = None, rules: ReplayRules | None = None
    ) -> None:
        self.recorder = recorder
        self.record = record
        self.rules = rules or ReplayRules()
        self.report = ReplayReport()
        self.added = False
        """What the user adds is said."""
        self.secret = salt
        self._known: dict[str, Recorded] = {}
        self._spans: dict[str, Recorded] | None = None
        if record is not None:
            spans = (span for span in record.root.spans() if span.kind == "model")
            self._known = {span.start.body.digest: span for span in spans if span.start and is_paid_answer(span)}

    @property
    def salt(self) -> str | None:
        """The salt as the record may tell it: not where texts are masked, for it would help to guess them."""
        return None if self.recorder.is_masking else self.secret.hex()

    def digest(self, *parts: Any) -> str:
        """What was asked, so that it can be known again but not guessed from the record."""
        return hmac.new(self.secret, repr(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]

    def read(self, event: Event) -> Any:
        assert self.record is not None
        return self.record.source.read(event)

    def known(self, call_key: str) -> Answered | None:
        """The reply in the record to an identical sub-call."""
        found = self._known.get(self.digest(call_key)) if self._known else None
        if found is None or found.end is None:
            return None
        return Answered(reply=reply_of(self.read(found.end)), span=found.id, fresh=False)

    def reply_to(self, span: str) -> ModelReply:
        """The reply that a recalled call shares with the paid one of that span."""
        if self._spans is None:
            assert self.record is not None
            self._spans = {each.id: each for each in self.record.root.spans() if each.kind == "model"}
        found = self._spans.get(span)
        if found is None or found.end is None:
            raise ResumeError(f"the record has a reply that is the same as that of the span {span}, which is not in it")
        return reply_of(self.read(found.end))

    def outcome_of(self, recorded: Recorded) -> Outcome:
        """What became of a child that has an end."""
        assert recorded.end is not None
        end: CompletionEnd = self.read(recorded.end)
        return Outcome(
            status=end.status,
            response=end.response,
            value=_given(recorded, self.read) if end.status == "completed" else None,
            limit=end.limit,
            cost_usd=end.cost_usd,
            usage=end.usage,
            duration_s=end.duration_s,
            error=None if end.error is None else revived(end.error),
        )

    @property
    def is_replay(self) -> bool:
        """Everything runs again, children too, to be held against the record."""
        return self.rules.on_divergence == "report"

    def copy(self, recorded: Recorded, ledger: Ledger) -> None:
        """Record a part of the record again, and count what it spent."""
        for event in recorded.walk():
            body = self.read(event)
            self._copy_images(body)
            self.recorder.record(Span(event.span, event.parent), body, served=True)
        spent = spent_by(recorded, ledger.depth)
        ledger.restore(spent.usage, spent.cost_usd)
        self.report.served += sum(span.kind in ("model", "tool") for span in recorded.spans())

    def charge(self, recorded: Recorded, ledger: Ledger, price: Price | None) -> None:
        """Give a model call that was cut off with the run an end that costs the most it can have cost."""
        assert recorded.start is not None
        end = worst_case(recorded.start.body, None)
        end = worst_case(recorded.start.body, None if price is None else price.cost_usd(end.usage))
        self.copy(recorded, ledger)
        self.recorder.record(Span(recorded.id, recorded.parent), end, served=True)
        usage = RunUsage(
            input_tokens=end.usage.input_tokens,
            output_tokens=end.usage.output_tokens,
            model_calls=1,
            depth_reached=ledger.depth,
        )
        ledger.restore(usage, end.cost_usd)

    def warn(self, message: str) -> None:
        self.recorder.record(self.recorder.root, Warned(message=message))

    def _copy_images(self, body: Any) -> None:
        notes: list[ImageNote] = getattr(body, "images", None) or []
        for note in notes:
            assert self.record is not None
            if (content := self.record.source.image(note.digest)) is not None:
                self.recorder.store(content)


class Place:
    """A turn or a cell in which things are asked, and what the record has of it."""

    def __init__(
        self,
        recall: Recall,
        span: Span,
        recorded: Recorded | None = None,
        *,
        stray: Callable[[str], None] | None = None,
        leave: Callable[[], None] | None = None,
    ) -> None:
        """`stray` is told what is asked that the record hasn't, where it has all that was asked here; `leave` is called
        before anything else that the record hasn't.
        """
        self.recall = recall
        self.span = span
        self.recorded = recorded
        self._stray = stray
        self._leave = leave
        self._asked: Counter[str] = Counter()
        self._left: defaultdict[str, list[Recorded]] = defaultdict(list)
        self._by_kind: defaultdict[str, list[str]] = defaultdict(list)
        self._events: dict[str, Any] = {}
        if recorded is not None:
            self._index(recorded)

    @property
    def is_sealed(self) -> bool:
        """Whether the record has all that was asked here."""
        return self._stray is not None

    def go_live(self, asked: str) -> None:
        """Ask something that the record hasn't, for people in the words `asked`.

        Raises:
            Halt: the record has all that was asked here, so this is a divergence; or this is a replay.
            LimitReached: the record says that a limit kept it from being asked.
        """
        if self._stray is not None:
            self._stray(asked)
        elif self._leave is not None:
            self._leave()
        if self.recall.is_replay:
            raise Halt(ResumeError("the record ends here"))

    def span_of(self, recorded: Recorded) -> Span:
        return Span(recorded.id, self.span.id)

    def key(self, kind: str, *asked: Any) -> str:
        """The key of what is asked now; called once for each time it is asked, in the order of asking."""
        if self.recall.record is not None and self.recall.record.masked and self.recorded is not None:
            return self._key_by_place(kind)
        digest = self.recall.digest(kind, *asked)
        self._asked[digest] += 1
        return f"{digest}/{self._asked[digest]}"

    def has(self, key: str) -> bool:
        """Whether the record knows of it, answered or not."""
        return bool(self._left.get(key)) or (self.outcome(key) is not None)

    def next(self, key: str, kind: str) -> Recorded | None:
        """The next recorded span of that key and kind; each is given once."""
        spans = self._left.get(key, [])
        if spans and spans[0].kind == kind:
            return spans.pop(0)
        return None

    def rest(self, key: str) -> list[Recorded]:
        """All recorded spans of that key that are left."""
        return self._left.pop(key, [])

    def led_to_nothing(self, recorded: Recorded) -> bool:
        """Whether the run ended by this failed call of a turn, or was resumed by making it again."""
        if self.recorded is None or recorded.key != "turn":
            return False
        calls = self.recorded.of("model")
        after = calls[calls.index(recorded) + 1 :]
        return not after or after[0].key != "compaction"

    def first_purpose(self) -> str | None:
        """What the first model call of a recorded turn was for."""
        calls = [] if self.recorded is None else self.recorded.of("model")
        return None if not calls or calls[0].start is None else str(calls[0].start.body.purpose)

    def outcome(self, key: str) -> Limit | None:
        """The limit that kept it from an answer."""
        found = self._events.get(key)
        if not isinstance(found, Limit) or (found.state == "cut" and not self.is_sealed):
            return None
        return found

    def was_granted(self, key: str) -> bool:
        """Whether it was counted as a sub-call."""
        limit = self.outcome(key)
        return limit is None or limit.state != "refused" or limit.name not in ("subcall_budget", "timeout_s")

    def artifact(self, key: str) -> str | None:
        """The name under which it was saved."""
        found = self._events.get(key)
        return found.name if isinstance(found, ArtifactSaved) else None

    def next_cell(self) -> Recorded | None:
        cells = self._left.get("", [])
        return cells.pop(0) if cells else None

    def _index(self, recorded: Recorded) -> None:
        for child in recorded.children:
            if child.kind in ("model", "tool", "completion", "exec"):
                key: str = child.key or ""
                if key not in self._left:
                    self._by_kind["query" if child.kind in ("model", "completion") else child.kind].append(key)
                self._left[key].append(child)
        for event in recorded.events:
            asked: str | None = getattr(event.body, "key", None)
            known = self._events.get(asked or "")
            if asked is not None and not (isinstance(known, Limit) and known.state == "refused"):
                self._events[asked] = event.body

    def _key_by_place(self, kind: str) -> str:
        """Without the salt: the next of that kind, in the order of the record."""
        sort = "query" if kind in ("llm_query", "rlm_query") else kind
        number, keys = self._asked[sort], self._by_kind[sort]
        self._asked[sort] += 1
        return keys[number] if number < len(keys) else f"{sort}/{number}"


def _given(recorded: Recorded, read: Callable[[Event], Any]) -> Any:
    """The value that a cell of a completion gave as its answer; None where the answer was a reply."""
    cells = [cell for turn in recorded.of("turn") for cell in turn.of("exec")]
    if not cells or cells[-1].end is None:
        return None
    final = read(cells[-1].end).final
    return None if final is None else final.value


async def cut_off() -> None:
    """Wait for the end of the cell, which came before the answer; it is near.

    Raises:
        TimeoutError: it did not come.
    """
    await asyncio.sleep(CELL_END_S)
    raise TimeoutError("the record has no answer to this call: its cell ended before")


def reply_of(end: ModelEnd) -> ModelReply:
    """The reply as the backend gave it."""
    return ModelReply(
        text=end.text, usage=end.usage, tool_calls=tuple(end.tool_calls), finish=end.finish, cost_usd=end.cost_usd
    )
