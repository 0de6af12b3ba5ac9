"""Takes runs that a model drives from their request to their end: answered, or held against a record."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ResumeError
from rlm.core.loop.orchestrator import Orchestrator
from rlm.core.off_loop import off_loop_if_large
from rlm.runtime.opening import open_run

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rlm.core.outcome import RLMResult
    from rlm.core.replay.serving import ReplayReport
    from rlm.runtime.opening import OpenRun
    from rlm.runtime.request import Request
    from rlm.runtime.wiring import Parts


async def complete(parts: Parts, request: Request) -> RLMResult:
    """Answer a request; what was begun comes back as a result, whatever ended it.

    Raises:
        RLMError: as `open_run`; nothing was called.
    """
    with parts.in_progress():
        return await to_the_end(await open_run(parts, request))


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
        async with opened.run.slots.slot(opened.task.scope.ledger):
            outcome = await Orchestrator(opened.run).complete(opened.task)
    finally:
        opened.close()  # blocks rather than awaits: a finished run can't be cancelled any more
    return await _though_cancelled(off_loop_if_large(opened.result, outcome))


async def _though_cancelled(work: Coroutine[Any, Any, RLMResult]) -> RLMResult:
    """The result of work that goes on where this is cancelled."""
    working = asyncio.ensure_future(work)
    while not working.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([working])
    return working.result()
