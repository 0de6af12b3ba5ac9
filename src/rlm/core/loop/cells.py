"""The record of one cell: its code, what it prints as it prints, masked, and how it ended; and back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from rlm.core.events import ExecEnd, ExecOutput, ExecStart
from rlm.core.off_loop import LARGE_CHARS, is_large, off_loop
from rlm.core.types import ExecResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.interfaces import Repl
    from rlm.core.replay.scope import Earlier, Scope
    from rlm.core.run import Run


_KILLED = ExecEnd(status="killed", output_chars=0, duration_s=0.0)
_LAST_OUTPUT_S = 0.5
"""How long the end of a cell that was given up waits for its output to be put on record, in seconds."""
_PIECE_CHARS = 65_536
"""How much of a large output is masked at a time."""


class CellRecord:
    """A cell in progress: one `begin`, any number of `output`, one `end`."""

    def __init__(self, run: Run, scope: Scope, shown: Callable[[str], None] | None = None) -> None:
        """`scope` is that of the cell; `shown` gets what it prints as it is recorded, masked."""
        self._recorder = run.recorder
        self._span = scope.span
        self._masked = None if run.masker is None else run.masker.stream()
        self._show = shown or _ignore
        self._waiting: list[str] = []
        self._printed_chars = 0
        """How much the cell has printed: no more than that can be held back."""
        self._recording: asyncio.Task[None] | None = None
        """Records the output that waits; None where none does."""

    async def begin(self, number: int, code: str) -> None:
        """Record that the cell begins, the `number`th of its REPL."""
        await self._recorder.record_large(self._span, ExecStart(cell=number, code=code))

    def output(self, text: str) -> None:
        """Record a piece of what the cell prints, at once or, where masking it may take long, in a moment.

        What may be the beginning of a secret is held back until the next.
        """
        self._printed_chars += len(text)
        if self._recording is None and not is_large(text):
            self._record(self._fed(text))
            return
        self._waiting.append(text)
        if self._recording is None:
            self._recording = asyncio.create_task(self._record_waiting())

    async def end(self, result: ExecResult | None) -> None:
        """Record what became of the cell; None: it was killed with its sandbox."""
        try:
            if result is None:
                await self._record_rest_in_time()
            else:
                await self._record_rest()
        except asyncio.CancelledError:
            self._recorder.record(self._span, _KILLED)
            raise
        end = _KILLED if result is None else _end(result)
        await self._recorder.record_large(self._span, end, otherwise=_KILLED)

    async def _record_waiting(self) -> None:
        while self._waiting:
            text = "".join(self._waiting)
            self._waiting.clear()
            for start in range(0, len(text), _PIECE_CHARS):
                await self._record_large(await off_loop(self._fed, text[start : start + _PIECE_CHARS]))
        self._recording = None

    async def _record_rest_in_time(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_OUTPUT_S):
                await self._record_rest()

    async def _record_rest(self) -> None:
        """Record the output that waits, and what was held back of it."""
        if self._recording is not None:
            await self._recording
        if self._masked is not None:
            is_short = self._printed_chars <= LARGE_CHARS
            await self._record_large(self._masked.close() if is_short else await off_loop(self._masked.close))

    def _fed(self, text: str) -> str:
        return text if self._masked is None else self._masked.feed(text)

    def _record(self, text: str) -> None:
        if text:
            self._recorder.record(self._span, ExecOutput(text=text), is_masked=True)
            self._show(text)

    async def _record_large(self, text: str) -> None:
        if text:
            await self._recorder.record_large(self._span, ExecOutput(text=text), is_masked=True)
            self._show(text)


async def run_cell(run: Run, repl: Repl, code: str, timeout_s: float | None = None) -> ExecResult:
    """Run one cell, if no hook keeps it from that. See `Repl.execute`."""
    denied = None if run.hooks is None else await run.hooks.before_cell(code)
    return denied or await repl.execute(code, timeout_s)


def _ignore(_text: str) -> None:
    return None


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
