"""The half of the engine that is on the nodes: one process that makes runs, as the local engine does."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from rlm.core.budget import Ledger
from rlm.core.config import Config
from rlm.core.error_texts import error_text
from rlm.core.exceptions import ConfigError, RLMError
from rlm.jobs.engines.cluster.messages import Probed, RunAnswered, RunAsked, answer_in, answer_of, config_of, request_of
from rlm.jobs.engines.ended import end_of
from rlm.jobs.engines.local import LocalEngine
from rlm.runtime.control import Act
from rlm.runtime.resume import resume_request
from rlm.trajectory.reader import Trajectory
from rlm.version import __version__

if TYPE_CHECKING:
    from rlm.runtime.request import Request

RELEASE_S = 20.0
"""How long the record of a run whose process was lost may be held by what is left of it, in seconds."""
RELEASE_POLL_S = 0.1


class ClusterWorker:
    """Makes the runs that it is asked; all methods take and return JSON."""

    def __init__(self, max_running: int) -> None:
        self._max_running = max_running
        self._made: LocalEngine | None = None

    async def probe(self, config: bytes, mark: str) -> bytes:
        """Check that this node can make runs under these settings, and sees the file `mark` of the engine."""
        fault = ""
        try:
            settings = msgspec.json.decode(config, type=Config)
            await self._engine.prepare(settings)
            if not await asyncio.to_thread(Path(mark).exists):
                raise ConfigError(f"it does not see {Path(mark).parent}, the folder of the records")
        except RLMError as error:
            fault = str(error)
        found = Probed(rlm_version=__version__, python=platform.python_version(), node=platform.node(), fault=fault)
        return msgspec.json.encode(found)

    async def run(self, asked: bytes) -> bytes:
        """Make a run, and return what it came to."""
        told = msgspec.json.decode(asked, type=RunAsked)
        return msgspec.json.encode(await self._run(told))

    async def act(self, run_id: str, act: bytes) -> None:
        """Act on a run in progress; what can't be done is a warning in its record."""
        wanted = msgspec.json.decode(act, type=Act)
        submission = self._engine.get(run_id)
        if submission is None:
            return
        with contextlib.suppress(ConfigError):
            submission.control(wanted)

    async def seen(self, run_id: str, known: int) -> bool:
        """Wait until the record of a run has more than `known` events; False: it has ended."""
        submission = self._engine.get(run_id)
        if submission is None:
            return False
        async for _ in submission.events(known):
            return True
        return False

    async def stop(self) -> None:
        """Land what is in progress, and release everything."""
        if self._made is not None:
            await self._made.aclose()

    @property
    def _engine(self) -> LocalEngine:
        if self._made is None:
            self._made = LocalEngine(max_running=self._max_running)
        return self._made

    async def _run(self, asked: RunAsked) -> RunAnswered:
        try:
            if asked.resumes:
                await _released(Path(asked.resumes))
                end = await asyncio.to_thread(end_of, Path(asked.resumes))
                if end is not None and end.status == "completed":  # only its answer was lost on the way
                    return answer_in(Path(asked.resumes), end)
            request = await self._request(asked)
            if asked.token_lease is not None or asked.cost_lease_usd is not None:
                above = Ledger.shared(
                    token_budget=asked.token_lease,
                    cost_budget_usd=asked.cost_lease_usd,
                    counts=request.config.budget.token_budget_counts,
                )
                request = replace(request, above=above)
            submission = await self._engine.submit(request)
            for act in asked.acts:
                submission.control(act)
            return answer_of(await submission.result())
        except RLMError as error:
            return RunAnswered(refused=error_text(error), run_id=asked.run_id)

    async def _request(self, asked: RunAsked) -> Request:
        if not asked.resumes:
            return request_of(asked)
        return replace(await _resumed(asked), run_id=asked.run_id)


async def _resumed(asked: RunAsked) -> Request:
    """The request that goes on with a record."""
    config = config_of(asked)
    budget = msgspec.to_builtins(config.budget)
    overrides = {name: "none" if value is None else value for name, value in budget.items()}
    on_divergence: Literal["stop", "continue"] = "continue" if asked.on_divergence == "continue" else "stop"
    return await asyncio.to_thread(
        resume_request, Path(asked.resumes), config, overrides=overrides, on_divergence=on_divergence
    )


async def _released(record: Path) -> None:
    """Wait until nobody writes a record any more: what is left of a process that was lost may still hold it."""
    deadline = time.monotonic() + RELEASE_S
    is_running = Trajectory(record).is_running
    while await asyncio.to_thread(is_running) and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells it
        await asyncio.sleep(RELEASE_POLL_S)
