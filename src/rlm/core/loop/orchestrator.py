"""The loop of one completion, root or child: turn after turn until there is an answer, a limit or a failure.

Whatever happens, `complete` ends with a `completion.end` event and, but for a cancelled child, with an `Outcome`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.events import CompletionEnd, CompletionStart, Limit
from rlm.core.exceptions import LimitReached, RunFailed, TimeLimitReached
from rlm.core.loop.completion import Completion
from rlm.core.loop.landing import land
from rlm.core.notes import ContextNote
from rlm.core.outcome import Outcome
from rlm.core.replay.scope import Halt
from rlm.core.types import Final, Status

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context
    from rlm.core.run import Run, Task

NOTHING = Final(value=None, text="")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    status: Status
    final: Final = NOTHING
    error: Exception | None = None


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
        started = time.monotonic()
        completion = Completion(self._run, task, self.complete)
        self._record_start(completion)
        given_up: asyncio.CancelledError | None = None
        try:
            ending = await self._to_end(completion)
        except asyncio.CancelledError as cancelled:
            given_up = cancelled
            ending = _Ending(
                status="cancelled",
                final=Final(value=None, text=completion.best),
                error=RunFailed("the run was cancelled"),
            )
        try:
            await _close(completion)
        except asyncio.CancelledError as cancelled:  # too late to change how it ended
            given_up = cancelled
        outcome = _outcome(completion, ending, time.monotonic() - started)
        self._run.recorder.record(task.scope.span, _completion_end(outcome))
        if given_up is not None and task.scope.ledger.parent is not None:
            raise given_up
        return outcome

    async def _to_end(self, completion: Completion) -> _Ending:
        try:
            return await self._to_limit(completion)
        except Exception as error:  # noqa: BLE001 - the boundary of a completion: any failure becomes its outcome
            cause = error.error if isinstance(error, Halt) else error
            return _Ending(status="failed", final=Final(value=None, text=completion.best), error=cause)

    async def _to_limit(self, completion: Completion) -> _Ending:
        try:
            return await self._turns(completion)
        except LimitReached as limit:
            reached = Limit(name=limit.limit, state="reached", message=str(limit))
            self._run.recorder.record(completion.task.scope.span, reached)
            return _Ending(status="limit", final=await land(completion, limit), error=limit)

    async def _turns(self, completion: Completion) -> _Ending:
        timeout_s = completion.task.timeout_s
        try:
            async with asyncio.timeout(timeout_s) as clock:
                await completion.open()
                while (final := await completion.turn()) is None:
                    self._run.recorder.check()
                return _Ending(status="completed", final=final)
        except TimeoutError:
            if not clock.expired():
                raise
            raise TimeLimitReached(f"timeout_s of {timeout_s:g} s passed") from None

    def _record_start(self, completion: Completion) -> None:
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
        self._run.recorder.record(task.scope.span, body)


async def _close(completion: Completion) -> None:
    """Close the REPL to the end, even if cancelled meanwhile; cancelled once more, don't wait for it."""
    closing = asyncio.ensure_future(completion.aclose())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await closing
        raise


def _outcome(completion: Completion, ending: _Ending, duration_s: float) -> Outcome:
    ledger = completion.task.scope.ledger
    return Outcome(
        status=ending.status,
        response=ending.final.text,
        value=ending.final.value,
        limit=ending.error.limit if isinstance(ending.error, LimitReached) else None,
        error=ending.error,
        usage=ledger.usage(),
        cost_usd=ledger.cost_usd,
        duration_s=duration_s,
    )


def _completion_end(outcome: Outcome) -> CompletionEnd:
    error = outcome.error
    return CompletionEnd(
        status=outcome.status,
        response=outcome.response,
        limit=outcome.limit,
        error=None if error is None else f"{type(error).__name__}: {error}",
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        duration_s=outcome.duration_s,
    )
