"""The loop of one completion, root or child: turn after turn until there is an answer, a limit or a failure.

Whatever happens, `complete` ends with a `completion.end` event and, but for a cancelled child, with an `Outcome`.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from rlm.core.events import CompletionEnd, CompletionStart, Limit, Warned
from rlm.core.exceptions import LimitReached, RunFailed, TimeLimitReached
from rlm.core.loop.completion import Completion
from rlm.core.loop.landing import land
from rlm.core.notes import ContextNote
from rlm.core.outcome import Outcome
from rlm.core.replay.scope import Halt
from rlm.core.types import Final

if TYPE_CHECKING:
    from rlm.core.budget import Ledger
    from rlm.core.contexts.context import Context
    from rlm.core.run import Run, Task
    from rlm.core.types import Status

REASONS_SHOWN = 3
CLOSE_S = 0.8
"""How long a REPL may take to close once a completion is out of time or cancelled, in seconds."""
HOOKS_S = 0.3
"""How long hooks may then take that are asked about how it ended."""
RECORD_S = 0.4
"""How long it may then take to record how it ended."""


class Orchestrator:
    """Completes the tasks of one run, any number at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._noted: Context | None = None

    async def complete(self, task: Task) -> Outcome:
        """Work on `task` until it is answered, reaches a limit, or fails.

        The root's cancellation is an outcome too. Raises:
            asyncio.CancelledError: a child's parent gave up; what there was is in the record.
        """
        if task.is_root:
            return await self._complete(task)
        with self._run.children.in_progress(task.scope.span.id):
            return await self._complete(task)

    async def _complete(self, task: Task) -> Outcome:
        started = time.monotonic()
        completion = Completion(self._run, task, self.complete)
        given_up: asyncio.CancelledError | None = None
        try:
            ending = await self._to_end(completion)
        except asyncio.CancelledError as cancelled:
            if (why := self._run.children.cancelled(task.scope.span.id)) is not None:
                ending = _ended("failed", _said(completion), RunFailed(why))
            else:
                given_up = cancelled
                ending = _ended("cancelled", _said(completion), RunFailed("the run was cancelled"))
        try:
            await _close(completion, given_up=given_up is not None)
        except asyncio.CancelledError as cancelled:  # too late to change how it ended
            given_up = cancelled
        spent, duration_s = task.scope.ledger, time.monotonic() - started
        if spent.parent is None and spent.usage().subcalls_failed:
            self._run.recorder.record(task.scope.span, Warned(message=_unanswered(spent)))
        outcome = replace(ending, usage=spent.usage(), cost_usd=spent.cost_usd, duration_s=duration_s)
        try:
            if task.is_root and self._run.hooks is not None:
                most_s = _patience_s(task, HOOKS_S, given_up=given_up is not None)
                outcome = await self._run.hooks.after_run(outcome, math.inf if most_s is None else most_s)
            await self._record_end(task, outcome, given_up=given_up is not None)
        except asyncio.CancelledError as cancelled:  # as above
            given_up = cancelled
        if given_up is not None and task.scope.ledger.parent is not None:
            raise given_up
        return outcome

    async def _to_end(self, completion: Completion) -> Outcome:
        try:
            await self._record_start(completion)
            return await self._to_limit(completion)
        except Exception as error:  # noqa: BLE001 - the boundary of a completion: any failure becomes its outcome
            cause = error.error if isinstance(error, Halt) else error
            return _ended("failed", _said(completion), cause)

    async def _to_limit(self, completion: Completion) -> Outcome:
        try:
            return await self._turns(completion)
        except LimitReached as limit:
            reached = Limit(name=limit.limit, state="reached", message=str(limit))
            self._run.recorder.record(completion.task.scope.span, reached)
            return _ended("limit", await land(completion, limit), limit)

    async def _turns(self, completion: Completion) -> Outcome:
        clock = completion.task.clock
        try:
            async with clock.turns() if completion.task.is_root else asyncio.timeout(None) as turns:
                if completion.task.is_root and self._run.hooks is not None:
                    await self._run.hooks.before_run()
                await completion.open()
                while (final := await completion.turn()) is None:
                    _stop_if_cancelled()
                return _ended("completed", final)
        except TimeoutError:
            if not turns.expired():
                raise
            said = f"timeout_s of {clock.timeout_s:g} s passed, but for the {clock.left_s:.1f} s kept for a last answer"
            raise TimeLimitReached(said) from None

    async def _record_start(self, completion: Completion) -> None:
        task = completion.task
        shared = task.context is self._noted
        self._noted = self._noted or task.context
        body = CompletionStart(
            depth=task.scope.ledger.depth,
            prompt=task.prompt,
            model=task.model.label,
            dialect=completion.dialect.name,
            context=ContextNote(kind=task.context.kind) if shared else task.context.note(),
            output_schema=dict(task.validator.schema) if task.validator is not None else None,
            key=task.key,
        )
        short = msgspec.structs.replace(body, prompt=self._run.recorder.beginning(task.prompt))
        await self._run.recorder.record_large(task.scope.span, body, otherwise=short)

    async def _record_end(self, task: Task, outcome: Outcome, *, given_up: bool) -> None:
        """Record how it ended; of an answer that there is no time to mask, the beginning."""
        short = CompletionEnd.of(replace(outcome, response=self._run.recorder.beginning(outcome.response)))
        with suppress(TimeoutError):
            async with asyncio.timeout(_patience_s(task, RECORD_S, given_up=given_up)):
                await self._run.recorder.record_large(task.scope.span, CompletionEnd.of(outcome), otherwise=short)


async def _close(completion: Completion, *, given_up: bool) -> None:
    """Close the REPL, as long as there is time, and a moment longer; what takes longer goes on by itself."""
    closing = asyncio.ensure_future(completion.aclose())
    try:
        await asyncio.wait([closing], timeout=_patience_s(completion.task, CLOSE_S, given_up=given_up))
    except asyncio.CancelledError:
        await asyncio.wait([closing], timeout=CLOSE_S)
        raise
    finally:
        if not closing.done():
            _leave_to_itself(completion.run, closing)
            said = f"the REPL took longer than {CLOSE_S:g} s to close; that goes on in the background"
            completion.run.recorder.record(completion.task.scope.span, Warned(message=said))
    if closing.done():
        closing.result()


def _patience_s(task: Task, beyond_s: float, *, given_up: bool) -> float | None:
    """How long what comes after a completion may take: as long as there is time, and `beyond_s`; None for any time."""
    left_s = task.clock.left_s if task.is_root else math.inf
    patience_s = beyond_s + (0.0 if given_up else left_s)
    return None if math.isinf(patience_s) else patience_s


def _leave_to_itself(run: Run, closing: asyncio.Future[None]) -> None:
    run.closing.add(closing)
    closing.add_done_callback(run.closing.discard)
    closing.add_done_callback(lambda done: None if done.cancelled() else done.exception())


def _stop_if_cancelled() -> None:
    """Raise the cancellation of this task, if something that it awaited has swallowed it.

    Raises:
        asyncio.CancelledError: it was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _unanswered(ledger: Ledger) -> str:
    """A warning of the sub-calls that got no answer."""
    reasons = [f"{reason} ({times:,})" for reason, times in ledger.failures[:REASONS_SHOWN]]
    more = len(ledger.failures) - len(reasons)
    said = "; ".join([*reasons, *([f"and {more} other reasons"] if more > 0 else [])])
    failed = ledger.usage().subcalls_failed
    return f"{failed:,} {'sub-call' if failed == 1 else 'sub-calls'} got no answer: {said or 'see the record'}"


def _ended(status: Status, final: Final, error: Exception | None = None) -> Outcome:
    """The outcome, but for what was spent."""
    limit = error.limit if isinstance(error, LimitReached) else None
    return Outcome(
        status=status, response=final.text, value=final.value, sources=final.sources, error=error, limit=limit
    )


def _said(completion: Completion) -> Final:
    """The best there is where nothing was given as an answer."""
    return Final(value=None, text=completion.best)
