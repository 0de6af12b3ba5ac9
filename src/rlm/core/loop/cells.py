"""The record of one cell: its code, what it prints as it prints, masked, and how it ended; and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.events import ExecEnd, ExecOutput, ExecStart
from rlm.core.types import ExecResult

if TYPE_CHECKING:
    from rlm.core.replay.scope import Earlier, Scope
    from rlm.core.run import Run


class CellRecord:
    """A cell in progress, begun when this is made and ended by one `end`."""

    def __init__(self, run: Run, scope: Scope, number: int, code: str) -> None:
        """`scope` is that of the cell, which is the `number`th of its REPL."""
        self._recorder = run.recorder
        self._span = scope.span
        self._masked = None if run.masker is None else run.masker.stream()
        self._recorder.record(scope.span, ExecStart(cell=number, code=code))

    def output(self, text: str) -> str:
        """Record a piece of what the cell prints; returns the text that is recorded.

        What may be the beginning of a secret is held back until the next.
        """
        shown = text if self._masked is None else self._masked.feed(text)
        self._record(shown)
        return shown

    def end(self, result: ExecResult | None) -> None:
        """Record what became of the cell; None: it was killed with its sandbox."""
        if self._masked is not None:
            self._record(self._masked.close())
        killed = ExecEnd(status="killed", output_chars=0, duration_s=0.0)
        self._recorder.record(self._span, killed if result is None else _end(result))

    def _record(self, text: str) -> None:
        if text:
            self._recorder.record(self._span, ExecOutput(text=text))


def _end(result: ExecResult) -> ExecEnd:
    return ExecEnd(
        status=result.status,
        output_chars=result.output_chars,
        duration_s=result.duration_s,
        error=result.error,
        final=result.final,
        changed=list(result.changed),
        state_reset=result.state_reset,
    )


def result_in(earlier: Earlier) -> ExecResult:
    """What became of a cell, as a record has it."""
    end: ExecEnd = earlier.end
    return ExecResult(
        status=end.status,  # type: ignore[arg-type]
        output=earlier.output,
        output_chars=end.output_chars,
        duration_s=end.duration_s,
        error=end.error,
        final=end.final,
        changed=tuple(end.changed),
        state_reset=end.state_reset,
    )
