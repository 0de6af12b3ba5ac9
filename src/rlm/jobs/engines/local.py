"""The engine of one process: its runs are tasks of one event loop and share one set of backends and sandboxes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError, RunFailed
from rlm.core.record.recorder import new_run_id
from rlm.hooks.approval import ask_terminal
from rlm.jobs.engines.feed import Feed
from rlm.jobs.engines.places import Places
from rlm.runtime.models import BackendPool, RunModels
from rlm.runtime.runs import complete, never_began
from rlm.runtime.wiring import Parts
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.events import Event
    from rlm.core.interfaces import Sink, Tool
    from rlm.core.outcome import RLMResult
    from rlm.hooks.approval import Approver
    from rlm.jobs.engines.engine import Numbered, State
    from rlm.runtime.control import Act, RunStatus
    from rlm.runtime.live_runs import LiveRuns, Steered
    from rlm.runtime.request import Request

MAX_RUNNING = 64
MAX_QUEUED = 1_000


class LocalSubmission:
    """A request that the local engine has taken; see `Submission`."""

    def __init__(self, parts: Parts, request: Request, feed: Feed, submission_id: str) -> None:
        assert request.run_id is not None
        self.id = submission_id
        self.request = request
        self.run_id: str = request.run_id
        self._parts = parts
        self._feed = feed
        self._ended: asyncio.Future[RLMResult] = asyncio.get_running_loop().create_future()
        self._acts: list[Act] = []
        self._taken_at = time.monotonic()
        self.task: asyncio.Task[RLMResult] | None = None
        """Waits for a place, then makes the run."""

    @property
    def state(self) -> State:
        """See `Submission.state`."""
        if self._ended.done():
            return "refused" if self._ended.exception() is not None else self._ended.result().status
        control = self._control
        return "queued" if control is None else control.status().state

    @property
    def status(self) -> RunStatus | None:
        """See `Submission.status`."""
        return None if self._control is None else self._control.status()

    @property
    def records(self) -> tuple[Path, ...]:
        """See `Submission.records`."""
        return tuple(self._feed.records)

    def events(self, first: int = 0) -> AsyncIterator[Numbered]:
        """See `Submission.events`."""
        return self._feed.events(first)

    def control(self, act: Act) -> None:
        """See `Submission.control`."""
        if self._ended.done():
            raise ConfigError(f"run {self.id} has ended: nothing can be done with it any more")
        if (control := self._control) is not None:
            control.act(act)
        elif act.action == "cancel" and not act.child:
            assert self.task is not None
            self.task.cancel()
        else:
            self._parts.live.hold(self.run_id, act)

    async def result(self) -> RLMResult:
        """See `Submission.result`."""
        return await asyncio.shield(self._ended)

    def begun(self, path: Path) -> None:
        """Take note that the record of the run has begun."""
        self._feed.add(path)

    def noticed(self) -> None:
        """Take note that something happened in the run."""
        self._feed.changed()

    def end(self, task: asyncio.Task[RLMResult]) -> None:
        """Take note of what came of it."""
        if task.cancelled():
            waited = RunFailed("the run was cancelled while it waited for a place")
            self._ended.set_result(never_began("cancelled", waited, time.monotonic() - self._taken_at))
        elif (error := task.exception()) is not None:
            self._ended.set_exception(error)
            self._ended.exception()  # which is no surprise if nobody asks for it
        else:
            self._ended.set_result(task.result())
        self._feed.end()

    @property
    def _control(self) -> Steered | None:
        return self._parts.live.get(self.run_id)


class LocalEngine:
    """Makes runs on the event loop that it is made and used on; see `Engine`."""

    def __init__(
        self,
        backends: BackendPool | None = None,
        *,
        tools: tuple[Tool, ...] = (),
        sinks: tuple[Sink, ...] = (),
        approver: Approver = ask_terminal,
        max_running: int = MAX_RUNNING,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._notices = _Notices()
        self.parts = Parts(
            backends=backends or BackendPool(), tools=tools, sinks=(self._notices, *sinks), approver=approver
        )
        self._places = Places(max_running, max_queued)
        self._submissions: dict[str, LocalSubmission] = {}
        self._is_closed = False

    def __iter__(self) -> Iterator[LocalSubmission]:
        return iter(tuple(self._submissions.values()))

    @property
    def live(self) -> LiveRuns:
        """The runs in progress, as `rlm ctl` sees them."""
        return self.parts.live

    async def prepare(self, config: Config) -> None:
        """See `Engine.prepare`."""
        RunModels.choose(config, self.parts.backends)
        await self.parts.sandbox(config).start()

    async def submit(
        self, request: Request, *, submission_id: str | None = None, earlier: tuple[Path, ...] = ()
    ) -> LocalSubmission:
        """See `Engine.submit`. A submission that was cut off keeps its id; `earlier` are the records that it has."""
        if self._is_closed:
            raise ConfigError("this engine is closed")
        self._places.check_room()
        run_id = request.run_id or new_run_id()
        request = replace(request, run_id=run_id)
        made = LocalSubmission(self.parts, request, Feed(earlier), submission_id or run_id)
        self._submissions[made.id] = self._notices.by_run[run_id] = made
        place = self._places.take()
        made.task = asyncio.create_task(self._make(made, place))
        made.task.add_done_callback(partial(self._end, made, place))
        return made

    def get(self, submission_id: str) -> LocalSubmission | None:
        """See `Engine.get`."""
        return self._submissions.get(submission_id)

    async def aclose(self) -> None:
        """See `Engine.aclose`."""
        self._is_closed = True
        tasks = [each.task for each in self if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.parts.aclose()

    async def _make(self, made: LocalSubmission, place: asyncio.Future[None]) -> RLMResult:
        """Wait for a place, and make the run."""
        await place
        return await complete(self.parts, made.request)

    def _end(self, made: LocalSubmission, place: asyncio.Future[None], task: asyncio.Task[RLMResult]) -> None:
        """Give the place of a run to the next."""
        self._places.give_back(place)
        del self._submissions[made.id], self._notices.by_run[made.run_id]
        self.parts.live.drop(made.run_id)
        made.end(task)


class _Notices:
    """The sink by which submissions learn that something happened."""

    on_loop = True

    def __init__(self) -> None:
        self.by_run: dict[str, LocalSubmission] = {}

    def write(self, event: Event) -> None:
        made = self.by_run.get(event.run)
        if made is None:
            return
        if event.seq == 0:
            made.begun(log_folder(made.request.config.log_dir) / f"{made.run_id}.jsonl")
        made.noticed()

    def close(self) -> None:
        """There is nothing to close."""
