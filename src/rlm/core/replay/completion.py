"""Follows the record of one completion, turn by turn and cell by cell, and decides where it ends.

Cells are run again, for they make the state of the REPL; what they print is held against the record. Those before the
last loss of that state are not run: nothing of them is left.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rlm.core.events import ExecEnd, Limit, MessageAdded, RecordLeft
from rlm.core.exceptions import Diverged, ResumeError, ToolError
from rlm.core.record.recorder import Span
from rlm.core.replay.record import cell_result, messages_of, reached_limit, revived_limit
from rlm.core.replay.serving import Difference, Halt, Place
from rlm.core.texts import escape_surrogates
from rlm.core.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.budget import Ledger
    from rlm.core.replay.record import Recorded
    from rlm.core.replay.serving import Recall
    from rlm.core.types import ExecResult

_LOST = frozenset({"timeout", "interrupted", "killed"})
"""Ends after which a lost state was lost by this cell, not before it."""
_UNSURE = frozenset({"timeout", "interrupted", "killed"})
"""Ends that come at another moment each time: what the model saw of them is taken from the record."""


class Past:
    """What the record has of one completion; without a record, nothing."""

    def __init__(self, recall: Recall, recorded: Recorded | None, ledger: Ledger, span: Span) -> None:
        self._recall = recall
        self._recorded = recorded
        self._ledger = ledger
        self._span = span
        self._turns = {turn.start.body.turn: turn for turn in recorded.of("turn") if turn.start} if recorded else {}
        self._first_cell = 1 if recorded is None else _first_cell(recorded)
        self._differences: list[Difference] = []
        self._turn = 0
        self.has_left = recorded is None
        self.place = Place(recall, span, recorded)
        """Of what is asked outside of turns: the landing."""

    @property
    def seed(self) -> int:
        """Of `random` in the cells of this completion, now and whenever they are run again."""
        return int(self._recall.digest("random", self._span.id)[:12], 16)

    def opening(self, live: Sequence[Message]) -> list[Message]:
        """The first messages as the model saw them, which another version may word in other ways."""
        if self._recorded is None or self.has_left:
            return list(live)
        recorded = messages_of(self._recorded, self._recall.record.source)  # type: ignore[union-attr]
        return [self._exact(message, seen) for message, seen in zip(live, recorded, strict=False)] + list(
            live[len(recorded) :]
        )

    def turn(self, number: int) -> Place:
        """The next turn; its span is the recorded one."""
        self._turn, self._differences = number, []
        recorded = None if self.has_left else self._turns.get(number)
        if recorded is None:
            self.leave()
        return Place(self._recall, self._child(self._span, recorded), recorded, leave=self.leave)

    def leave(self) -> None:
        """Go on live from here: the record has no more of this completion. Once.

        Raises:
            LimitReached: the record says that a limit ended it here.
        """
        if self.has_left:
            return
        assert self._recorded is not None
        self.has_left = True
        if (limit := reached_limit(self._recorded)) is not None:
            raise revived_limit(limit)
        self.place = Place(self._recall, self._span)
        if self._recall.is_replay:
            raise Halt(ResumeError("the record ends here"))
        for left in [*self._recorded.of("model"), *self._recorded.of("exec")]:  # of a landing before a cap was raised
            if left.end is None and left.kind == "model":
                self._recall.charge(left, self._ledger, None)
            else:
                self._recall.copy(left, self._ledger)
        self._recall.recorder.record(self._span, RecordLeft(turn=self._turn))

    def cell(self, parent: Place, number: int, code: str) -> Place:
        """The next cell of a turn, or of the landing.

        Raises:
            Diverged: the record has other code there.
        """
        recorded = None if self.has_left and parent is not self.place else parent.next_cell()
        if recorded is not None and recorded.start is not None:
            before = self._recall.read(recorded.start).code
            if not self._same(code, before):
                self._note(number, "code", before, code)
                recorded = recorded if self.diverge(number) else None
        span = self._child(parent.span, recorded)
        if recorded is not None and recorded.has_ended:
            return Place(self._recall, span, recorded, stray=lambda asked: self._strayed(number, asked))
        if parent is not self.place:
            self.leave()
        return Place(self._recall, span, recorded)

    def served(self, place: Place, number: int) -> ExecResult | None:
        """The result of a cell whose state was lost later, which need not run again."""
        if not place.is_sealed or number >= self._first_cell or place.recorded is None:
            return None
        result = cell_result(place.recorded, self._recall.record.source)  # type: ignore[union-attr]
        self._recall.copy(place.recorded, self._ledger)
        self._note(number, "state", "", "")
        return result

    def compare(self, place: Place, number: int, now: ExecResult) -> None:
        """Hold a cell that ran again against the record.

        Raises:
            Diverged: it gives another final answer.
        """
        if not place.is_sealed or place.recorded is None:
            return
        self._recall.report.cells += 1
        then = cell_result(place.recorded, self._recall.record.source)  # type: ignore[union-attr]
        pairs = {
            "status": (then.status, now.status),
            "output": (then.output, now.output),
            "error": (_error_text(then), _error_text(now)),
            "changed": (", ".join(sorted(then.changed)), ", ".join(sorted(now.changed))),
            "final": (_final_text(then), _final_text(now)),
        }
        if then.status in _UNSURE:
            self._note(number, "state", "", "")
            return
        for what, (before, after) in pairs.items():
            if not self._same(after, before):
                self._note(number, what, before, after)
                if what == "final":
                    self.diverge(number)

    def messages(self, place: Place, live: Sequence[Message]) -> list[Message]:
        """The messages of a turn as the model saw them: those of the record, then those that it has no more of.

        Raises:
            Diverged: what a cell or tool gave is not what the record says.
        """
        if self.has_left or place.recorded is None:
            return list(live)
        recorded = messages_of(place.recorded, self._recall.record.source)  # type: ignore[union-attr]
        if not self._unsure:
            for message, seen in zip(live, recorded, strict=False):
                if not self._same(message.content, seen.content):
                    self._note(0, "messages", seen.content, message.content)
                    return self._differing(live, recorded)
        return self._merged(live, recorded)

    def _differing(self, live: Sequence[Message], recorded: Sequence[MessageAdded]) -> list[Message]:
        """What the conversation goes on with after a difference that the rules let pass."""
        left = not self.diverge(self._differences[0].cell)
        return list(live) if left else self._merged(live, recorded)

    def _merged(self, live: Sequence[Message], recorded: Sequence[MessageAdded]) -> list[Message]:
        told = [Message(role=seen.role, content=seen.content) for seen in recorded[len(live) :]]
        kept = zip(live, recorded, strict=False)
        return [*(self._exact(message, seen) for message, seen in kept), *live[len(recorded) :], *told]

    def told(self, place: Place, rendered: int) -> list[Limit]:
        """The limits of which the model was told in this turn, by a message after the `rendered` ones."""
        if place.recorded is None or self.has_left or len(place.recorded.bodies(MessageAdded)) <= rendered:
            return []
        return [event.body for event in place.recorded.bodies(Limit) if event.body.state == "near"]

    def is_over(self, place: Place) -> bool:
        """Whether the record has all of the turn."""
        return not self.has_left and place.recorded is not None and place.recorded.end is not None

    def addition(self) -> tuple[Message, ...]:
        """What the user adds where the run goes on live; once, and to the root."""
        rules = self._recall.rules
        if not rules.addition or not self.has_left or self._ledger.parent is not None or self._recall.added:
            return ()
        self._recall.added = True
        return (Message(role="user", content=rules.addition),)

    def diverge(self, cell: int) -> bool:
        """Do what the rules say of a difference that matters; returns whether the record is followed on.

        Raises:
            Diverged: they say stop.
        """
        rules = self._recall.rules
        if rules.on_divergence == "report":
            return True
        text = _explained(self._differences[-1], self._turn, cell)
        if rules.on_divergence == "stop":
            raise Diverged(text)
        if not self.has_left:
            self.has_left = True
            self._recall.recorder.record(self._span, RecordLeft(turn=self._turn, diverged=text))
        return False

    def _strayed(self, cell: int, asked: str) -> None:
        """A recorded cell asks for something that the record does not have.

        Raises:
            Halt: the rules say stop.
            ToolError: they say that nothing is paid for.
        """
        self._note(cell, "sub-call", "", asked)
        if self._recall.rules.on_divergence == "report":
            raise ToolError("the record has no answer to this call")
        try:
            self.diverge(cell)
        except Diverged as error:
            raise Halt(error) from None

    @property
    def _unsure(self) -> bool:
        return any(each.what == "state" for each in self._differences)

    def _note(self, cell: int, what: str, before: str, after: str) -> None:
        difference = Difference(
            depth=self._ledger.depth, turn=self._turn, cell=cell, what=what, before=before, after=after
        )
        self._differences.append(difference)
        if what != "state":
            self._recall.report.differences.append(difference)

    def _same(self, live: str, recorded: str) -> bool:
        if live == recorded:
            return True
        mask = self._recall.recorder.mask
        return escape_surrogates(mask(live)) == mask(recorded)

    def _exact(self, live: Message, seen: MessageAdded) -> Message:
        """The live message where it is what was seen: it has the text before masking."""
        if self._same(live.content, seen.content):
            return live
        return Message(role=live.role, content=seen.content, tool_call_id=live.tool_call_id, images=live.images)

    def _child(self, parent: Span, recorded: Recorded | None) -> Span:
        return parent.child() if recorded is None else Span(recorded.id, parent.id)


def _first_cell(recorded: Recorded) -> int:
    """The first cell to run again: all before it left nothing behind."""
    first = 1
    cells = [cell for turn in recorded.of("turn") for cell in turn.of("exec")]
    for number, cell in enumerate(cells, 1):
        end = None if cell.end is None else cell.end.body
        if isinstance(end, ExecEnd) and cell.has_ended and end.state_reset:
            first = number + 1 if end.status in _LOST else number
    return first


def _error_text(result: ExecResult) -> str:
    return "" if result.error is None else f"{result.error.kind}: {result.error.message}"


def _final_text(result: ExecResult) -> str:
    return "" if result.final is None else result.final.text


def _explained(difference: Difference, turn: int, cell: int) -> str:
    where = f"turn {turn}"
    where += f", cell {cell}" if cell else ""
    where += f" of a child at depth {difference.depth}" if difference.depth else ""
    before, after = at_difference(difference.before, difference.after)
    return (
        f"the run does something else than its record in {where} ({difference.what}): "
        f"recorded {before}, now {after}\n"
        "what depends on the clock, on chance or on another version differs each time; "
        "--on-divergence continue goes on live from there"
    )


def at_difference(before: str, after: str) -> tuple[str, str]:
    """Both texts from shortly before the first place where they differ."""
    pairs = zip(before, after, strict=False)
    at = next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
    start = max(0, at - 20)
    return tuple(json.dumps(text[start : at + 60], ensure_ascii=False) for text in (before, after))  # type: ignore[return-value]
