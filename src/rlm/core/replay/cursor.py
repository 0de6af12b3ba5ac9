"""Where one completion stands in its record: still following it, turn by turn, or past its end and live; and what came
out otherwise than recorded on the way.

Cells are run again, for they make the state of the REPL; what they print is held against the record. Cells before the
last loss of that state are not run: nothing of them is left.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rlm.core.error_texts import revived_limit
from rlm.core.events import ExecEnd, MessageAdded, RecordLeft
from rlm.core.exceptions import Diverged, ResumeError, ToolError
from rlm.core.off_loop import off_loop_if_large
from rlm.core.replay.record import messages_of, reached_limit
from rlm.core.replay.serving import Difference, Halt
from rlm.core.texts import escape_surrogates
from rlm.core.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.budget import Ledger
    from rlm.core.record.recorder import Span
    from rlm.core.replay.record import Recorded
    from rlm.core.replay.serving import Recall
    from rlm.core.types import ExecResult

_UNSURE = frozenset({"timeout", "interrupted", "killed"})
"""Ends that come at another moment each time: what the model saw of such a cell is taken from the record, and a state
that was lost with one was lost by that cell, not before it."""


class Cursor:
    """The place of one completion in its record."""

    def __init__(self, recall: Recall, ledger: Ledger, span: Span, recorded: Recorded) -> None:
        self.recall = recall
        self.ledger = ledger
        self.span = span
        """The span of the completion."""
        self.is_live = False
        """Whether the completion is past what the record has of it."""
        self.cells = 0
        """How many cells there were."""
        self._recorded = recorded
        self._turns = {turn.start.body.turn: turn for turn in recorded.of("turn") if turn.start}
        self._first_cell = _first_cell(recorded)
        self._turn = 0
        self._differences: list[Difference] = []
        """The differences in this turn."""
        self._is_unsure = False
        """Whether what the model saw in this turn can't be held against the record."""

    @property
    def dialect(self) -> str | None:
        """The dialect in which the record begins; None where it breaks off before that."""
        start = self._recorded.start
        return None if start is None else str(start.body.dialect)

    @property
    def is_at_end(self) -> bool:
        """Whether the record was followed up to its last turn."""
        return self._turn >= max(self._turns, default=0)

    def has_turn(self, number: int) -> bool:
        """Whether the record, which is followed, has that turn."""
        return not self.is_live and number in self._turns

    async def begin_turn(self, number: int) -> Recorded | None:
        """What the record has of the next turn; None where it goes live.

        Raises:
            LimitReached: the record says that a limit ended the completion here.
            Halt: this is a replay, and the record ends here.
        """
        self._turn, self._differences, self._is_unsure = number, [], False
        recorded = None if self.is_live else self._turns.get(number)
        if recorded is None:
            await self.go_live()
        return recorded

    async def go_live(self) -> None:
        """Go on live from here, for the record has no more of this completion; idempotent.

        Raises:
            LimitReached, Halt: as `begin_turn`.
        """
        if self.is_live:
            return
        if (limit := reached_limit(self._recorded)) is not None:
            raise revived_limit(limit.body.name, limit.body.message)
        self.is_live = True
        if self.recall.is_replay:
            raise Halt(ResumeError("the record ends here"))
        for left in [*self._recorded.of("model"), *self._recorded.of("exec")]:  # of a landing before a cap was raised
            if left.kind == "model" and left.start is not None and left.end is None:
                await self.recall.close(left, left.start.body.given_up(None), self.ledger)
            else:
                await self.recall.copy(left, self.ledger)
        self.recall.recorder.record(self.span, RecordLeft(turn=self._turn))

    async def follows_code(self, code: str, before: str) -> bool:
        """Whether the next cell goes on as the recorded one, with the code `before`.

        Raises:
            Diverged: its code is another, and the rules say stop.
        """
        if await self._same(code, before):
            return True
        self._note(self.cells, "code", before, code)
        return self._diverge(self.cells)

    def is_lost(self, cell: int) -> bool:
        """Whether the state that a recorded cell made was lost later, so that it need not run again."""
        if cell >= self._first_cell:
            return False
        self._is_unsure = True
        return True

    async def compare(self, cell: int, then: ExecResult, now: ExecResult) -> None:
        """Hold a cell that ran again against the record.

        Raises:
            Diverged: it gives another final answer.
        """
        self.recall.count_cell()
        if then.status in _UNSURE:
            self._is_unsure = True
            return
        pairs = {
            "status": (then.status, now.status),
            "output": (then.output, now.output),
            "error": (_error_text(then), _error_text(now)),
            "changed": (", ".join(sorted(then.changed)), ", ".join(sorted(now.changed))),
            "final": (_final_text(then), _final_text(now)),
        }
        differing = {what: pair for what, pair in pairs.items() if not await self._same(pair[1], pair[0])}
        for what, (before, after) in differing.items():
            self._note(cell, what, before, after)
            if what == "final":
                self._diverge(cell)

    async def first_messages(self, recorded: Recorded, live: Sequence[Message]) -> list[Message]:
        """The messages before the first turn as the model saw them, which another version may word in other ways."""
        return await self._merged(live, self._seen(recorded))

    async def turn_messages(
        self, recorded: Recorded, live: Sequence[Message], notices: Sequence[Message]
    ) -> list[Message]:
        """The messages of a turn as the model saw them: the recorded ones, then those that the record hasn't.

        `notices` come after the others and may be worded in other ways. Raises:
            Diverged: what a cell or tool gave is not what the record says.
        """
        seen = self._seen(recorded)
        differing = None
        if not self._is_unsure:
            for pair in zip(live, seen, strict=False):
                if not await self._same(pair[0].content, pair[1].content):
                    differing = pair
                    break
        if differing is not None:
            now, then = differing
            self._note(0, "messages", then.content, now.content)
            if not self._diverge(self._differences[0].cell):
                return [*live, *notices]
        return await self._merged([*live, *notices], seen)

    def stray(self, cell: int, asked: str) -> None:
        """A recorded cell asks for something that the record does not have.

        Raises:
            Halt: the rules say stop.
            ToolError: they say that nothing is paid for.
        """
        self._note(cell, "sub-call", "", asked)
        if self.recall.is_replay:
            raise ToolError("the record has no answer to this call")
        try:
            self._diverge(cell)
        except Diverged as error:
            raise Halt(error) from None

    def _diverge(self, cell: int) -> bool:
        """Do what the rules say of the last difference, one that matters; returns whether the record is followed on.

        Raises:
            Diverged: they say stop.
        """
        if self.recall.is_replay:
            return True
        text = _explained(self._differences[-1], cell)
        if self.recall.rules.on_divergence == "stop":
            raise Diverged(text)
        if not self.is_live:
            self.is_live = True
            self.recall.recorder.record(self.span, RecordLeft(turn=self._turn, diverged=text))
        return False

    def _note(self, cell: int, what: str, before: str, after: str) -> None:
        difference = Difference(
            depth=self.ledger.depth, turn=self._turn, cell=cell, what=what, before=before, after=after
        )
        self._differences.append(difference)
        self.recall.differs(difference)

    def _seen(self, recorded: Recorded) -> list[MessageAdded]:
        assert self.recall.record is not None
        return messages_of(recorded, self.recall.record.source)

    async def _merged(self, live: Sequence[Message], seen: Sequence[MessageAdded]) -> list[Message]:
        told = [Message(role=message.role, content=message.content) for message in seen[len(live) :]]
        kept = [await self._exact(message, then) for message, then in zip(live, seen, strict=False)]
        return [*kept, *live[len(seen) :], *told]

    async def _same(self, live: str, recorded: str) -> bool:
        return live == recorded or await off_loop_if_large(self._same_masked, live, recorded)

    def _same_masked(self, live: str, recorded: str) -> bool:
        mask = self.recall.recorder.mask
        return escape_surrogates(mask(live)) == mask(recorded)

    async def _exact(self, live: Message, seen: MessageAdded) -> Message:
        """The live message where it is what was seen: it has the text before masking."""
        if await self._same(live.content, seen.content):
            return live
        return Message(role=live.role, content=seen.content, tool_call_id=live.tool_call_id, images=live.images)


def _first_cell(recorded: Recorded) -> int:
    """The first cell to run again: all before it left nothing behind."""
    first = 1
    cells = [cell for turn in recorded.of("turn") for cell in turn.of("exec")]
    for number, cell in enumerate(cells, 1):
        end = None if cell.end is None else cell.end.body
        if isinstance(end, ExecEnd) and cell.has_ended and end.state_reset:
            first = number + 1 if end.status in _UNSURE else number
    return first


def _error_text(result: ExecResult) -> str:
    return "" if result.error is None else f"{result.error.kind}: {result.error.message}"


def _final_text(result: ExecResult) -> str:
    return "" if result.final is None else result.final.text


def _explained(difference: Difference, cell: int) -> str:
    where = f"turn {difference.turn}"
    where += f", cell {cell}" if cell else ""
    where += f" of a child at depth {difference.depth}" if difference.depth else ""
    before, after = at_difference(difference.before, difference.after)
    return (
        f"the run does something else than its record in {where} ({difference.what}): "
        f"recorded {before}, now {after}\n"
        "code that reads the clock, draws at random or runs under another version does so; to go on live from there: "
        "--on-divergence continue"
    )


def at_difference(before: str, after: str) -> tuple[str, str]:
    """Both texts from shortly before the first place where they differ."""
    pairs = zip(before, after, strict=False)
    at = next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
    start = max(0, at - 20)
    return tuple(json.dumps(text[start : at + 60], ensure_ascii=False) for text in (before, after))  # type: ignore[return-value]
