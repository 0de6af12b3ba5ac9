"""Takes runs that a model drives from their request to their end: answered, or held against a record."""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.events import TimePassed
from rlm.core.exceptions import LimitReached, ResumeError, RunFailed, TimeLimitReached
from rlm.core.loop.orchestrator import Orchestrator
from rlm.core.off_loop import off_loop_if_large
from rlm.core.outcome import RLMResult
from rlm.core.record.recorder import new_run_id
from rlm.core.time_notes import SHARES
from rlm.runtime.opening import open_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from rlm.core.outcome import Outcome
    from rlm.core.record.recorder import Recorder
    from rlm.core.replay.serving import ReplayReport
    from rlm.core.types import Status
    from rlm.runtime.opening import OpenRun
    from rlm.runtime.request import Request
    from rlm.runtime.wiring import Parts


RESULT_S = 0.3
"""How long a result may take once its run is out of time or cancelled, in seconds."""
_LEAST_WATCHED_S = 60.0
"""Of the time of a run with less nothing is said."""


async def complete(parts: Parts, request: Request) -> RLMResult:
    """Answer a request; what was begun comes back as a result, whatever ended it.

    A run that is cancelled while it starts, or whose time is up by then, has a result without a record.

    Raises:
        RLMError: as `open_run`; nothing was called.
    """
    timeout_s, began_at = request.config.budget.timeout_s, time.monotonic()
    with parts.in_progress():
        try:
            async with asyncio.timeout(timeout_s) as clock:
                await parts.live.listen()
                opened = await open_run(parts, request)
        except asyncio.CancelledError:
            cancelled = RunFailed("the run was cancelled while it started")
            return never_began("cancelled", cancelled, time.monotonic() - began_at)
        except TimeoutError:
            if not clock.expired():
                raise
            late = TimeLimitReached(f"timeout_s of {timeout_s:g} s passed while the run started")
            return never_began("limit", late, time.monotonic() - began_at)
        task = asyncio.current_task()
        with parts.live.listed(opened.control, None if task is None else task.cancel):
            return await to_the_end(opened)


def never_began(status: Status, error: LimitReached | RunFailed, duration_s: float) -> RLMResult:
    """The result of a run that ended before it had a record."""
    limit = error.limit if isinstance(error, LimitReached) else None
    return RLMResult(
        status=status, response="", limit=limit, error=error, duration_s=duration_s, run_id=new_run_id(), cost_usd=0.0
    )


async def replay(parts: Parts, request: Request) -> ReplayReport:
    """Run the cells of a record again, with no record of their own, and report the differences.

    Raises:
        RLMError: as `open_run`, or what ended the run before its record did.
    """
    with tempfile.TemporaryDirectory(prefix="rlm-replay-") as folder, parts.in_progress():
        config = msgspec.structs.replace(request.config, log_dir=folder)
        opened = await open_run(parts, replace(request, config=config))
        result = await to_the_end(opened)
    if result.status == "failed" and result.error is not None and not isinstance(result.error, ResumeError):
        raise result.error
    return opened.recall.report


async def to_the_end(opened: OpenRun) -> RLMResult:
    """Complete the task of the root, close the run, and return what it came to."""
    try:
        async with opened.run.slots.slot(opened.task.scope.ledger), _watched(opened):
            outcome = await Orchestrator(opened.run).complete(opened.task)
    finally:
        opened.close()  # blocks rather than awaits: a finished run can't be cancelled any more
    return await _though_cancelled(_in_time(opened, outcome))


@asynccontextmanager
async def _watched(opened: OpenRun) -> AsyncIterator[None]:
    """Put down when shares of the run's time have passed, while the body runs."""
    watching = asyncio.create_task(_watch(opened))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(opened: OpenRun) -> None:
    """A pause moves what is to come, and so does another limit; a run of less than a minute is not spoken of."""
    clock, recorder = opened.task.clock, opened.record.recorder
    for share in SHARES:
        # The clock may be stopped meanwhile, and its limit changed: what is waited for is a time, looked at again.
        while (limit_s := clock.timeout_s or 0.0) >= _LEAST_WATCHED_S and clock.elapsed_s < limit_s * share:  # noqa: ASYNC110
            await asyncio.sleep(limit_s * share - clock.elapsed_s)
        if limit_s < _LEAST_WATCHED_S:
            return
        cost_usd = opened.task.scope.ledger.cost_usd
        recorder.record(
            recorder.root, TimePassed(elapsed_s=round(clock.elapsed_s, 1), timeout_s=limit_s, cost_usd=cost_usd)
        )


async def _in_time(opened: OpenRun, outcome: Outcome) -> RLMResult:
    """The result, which is masked as long as there is time; of an answer that takes longer, its beginning."""
    left_s = 0.0 if outcome.status == "cancelled" else opened.task.clock.left_s
    try:
        async with asyncio.timeout(None if math.isinf(left_s) else left_s + RESULT_S):
            return await off_loop_if_large(opened.result, outcome)
    except TimeoutError:
        return opened.result(_beginning(outcome, opened.record.recorder))


def _beginning(outcome: Outcome, recorder: Recorder) -> Outcome:
    """An outcome as far as it can be told where no time is left."""
    said = f"no time was left to mask an answer of {len(outcome.response):,} characters: this is its beginning"
    late = TimeLimitReached(said)
    status: Status = "limit" if outcome.success else outcome.status
    return replace(
        outcome,
        status=status,
        response=recorder.beginning(outcome.response),
        value=None,
        limit=outcome.limit or late.limit,
        error=outcome.error or late,
    )


async def _though_cancelled(work: Coroutine[Any, Any, RLMResult]) -> RLMResult:
    """The result of work that goes on where this is cancelled."""
    working = asyncio.ensure_future(work)
    while not working.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([working])
    return working.result()
