"""The engine of many machines: its queue and its ledger are here, its runs are made by the workers of a cluster. A run
that is lost with its worker goes on from its record on another.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ConfigError, RunFailed, SharedBudgetExhausted
from rlm.core.record.recorder import new_run_id
from rlm.core.types import RunUsage
from rlm.jobs.engines.cluster.lease import Counted, Lease
from rlm.jobs.engines.cluster.messages import asked_of, result_of
from rlm.jobs.engines.cluster.nodes import Nodes, NodeWorker, WorkerLost
from rlm.jobs.engines.ended import have_begun
from rlm.jobs.engines.feed import Feed
from rlm.jobs.engines.local import MAX_QUEUED, MAX_RUNNING
from rlm.jobs.engines.places import Places
from rlm.jobs.engines.spending import spent_in
from rlm.jobs.engines.successor import next_run_id
from rlm.runtime.live_runs import LiveRuns
from rlm.runtime.models import BackendPool
from rlm.runtime.runs import never_began
from rlm.trajectory.places import log_folder, make_folder
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.outcome import RLMResult
    from rlm.jobs.engines.cluster.messages import RunAsked
    from rlm.jobs.engines.engine import Numbered, State
    from rlm.runtime.control import Act, RunStatus
    from rlm.runtime.request import Request

LOSSES = 3
"""A run that is lost so often, each time with its worker, is given up: it may be what ends them."""


WAIT_S = 0.05
"""How often it is looked whether a run has a worker by now, in seconds."""


class ClusterSubmission:
    """A request that the engine has taken; see `Submission`."""

    def __init__(self, request: Request) -> None:
        assert request.run_id is not None
        self.id = request.run_id
        self.request = request
        self.feed = Feed()
        self.acts: list[Act] = []
        self.place: tuple[NodeWorker, str] | None = None
        """The worker that makes its run, and the id of that."""
        self.task: asyncio.Task[RLMResult] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[RLMResult] = asyncio.get_running_loop().create_future()
        self._taken_at = time.monotonic()

    @property
    def state(self) -> State:
        """See `Submission.state`."""
        if self._ended.done():
            return "refused" if self._ended.exception() is not None else self._ended.result().status
        return "queued" if self.place is None else "running"

    @property
    def status(self) -> RunStatus | None:
        """See `Submission.status`."""
        return None

    @property
    def records(self) -> tuple[Path, ...]:
        """See `Submission.records`."""
        return tuple(self.feed.records)

    def events(self, first: int = 0) -> AsyncIterator[Numbered]:
        """See `Submission.events`."""
        if self._watching is None and not self._ended.done():
            self._watching = asyncio.create_task(self._watch())
        return self.feed.events(first)

    def control(self, act: Act) -> None:
        """See `Submission.control`."""
        if self._ended.done():
            raise ConfigError(f"run {self.id} has ended: nothing can be done with it any more")
        if self.place is not None:
            worker, run_id = self.place
            worker.act(run_id, act)
        elif act.action == "cancel" and not act.child:
            assert self.task is not None
            self.task.cancel()
        else:
            self.acts.append(act)

    async def result(self) -> RLMResult:
        """See `Submission.result`."""
        return await asyncio.shield(self._ended)

    def begin(self, worker: NodeWorker, run_id: str) -> None:
        """Take note of who makes its run now."""
        self.place = worker, run_id

    def end(self, task: asyncio.Task[RLMResult]) -> None:
        """Take note of what came of it."""
        if task.cancelled():
            waited = RunFailed("the run was cancelled while it waited for a place")
            self._ended.set_result(never_began("cancelled", waited, time.monotonic() - self._taken_at))
        elif (error := task.exception()) is not None:
            self._ended.set_exception(error)
            self._ended.exception()  # which is no surprise if nobody asks for it
        else:
            result = task.result()
            if result.trajectory is not None and result.trajectory not in self.feed.records:
                self.feed.add(result.trajectory)
            self._ended.set_result(result)
        if self._watching is not None:
            self._watching.cancel()
        self.feed.end()

    async def _watch(self) -> None:
        """Have readers look again whenever its worker says that its record has grown."""
        folder, known = log_folder(self.request.config.log_dir).absolute(), 0
        while True:
            if self.place is None:
                await asyncio.sleep(WAIT_S)
                continue
            worker, run_id = self.place
            if not await worker.seen(run_id, known):
                known = 0
                await asyncio.sleep(WAIT_S)
                continue
            known += 1
            record = folder / f"{run_id}.jsonl"
            if record not in self.feed.records:
                self.feed.add(record)
            self.feed.changed()


class ClusterEngine:
    """Makes runs on the workers of a cluster; see `Engine`. Used on one event loop only."""

    def __init__(
        self, address: str | None = None, *, max_running: int = MAX_RUNNING, max_queued: int = MAX_QUEUED
    ) -> None:
        """`address` is that of a cluster, as Ray writes it; None: a cluster of this machine alone is started."""
        self.live = LiveRuns()
        self._max_running = max_running
        self._backends = BackendPool()
        self._nodes = Nodes(address, max_running)
        self._places = Places(max_running, max_queued)
        self._submissions: dict[str, ClusterSubmission] = {}
        self._workers: list[NodeWorker] = []
        self._mending: set[asyncio.Task[None]] = set()
        """What brings workers in the place of those that were lost."""
        self._starting = asyncio.Lock()
        self._is_closed = False

    async def prepare(self, config: Config) -> None:
        """See `Engine.prepare`: every node has this rlm, the sandbox and the folder of the records.

        Raises:
            ConfigError: a node lacks something; names it.
        """
        await self._start()
        folder = log_folder(config.log_dir).absolute()
        mark = folder / f".seen-{new_run_id()}"
        try:
            await asyncio.to_thread(_put, mark)
            found = await asyncio.gather(*(worker.probe(config, str(mark)) for worker in self._workers))
        finally:
            with suppress(OSError):
                mark.unlink()
        for each in found:
            if each.rlm_version != __version__:
                raise ConfigError(f"node {each.node} has rlm {each.rlm_version}, and this is {__version__}")
            if each.fault:
                raise ConfigError(f"node {each.node}: {each.fault}")

    async def submit(self, request: Request) -> ClusterSubmission:
        """See `Engine.submit`."""
        if self._is_closed:
            raise ConfigError("this engine is closed")
        self._places.check_room()
        request = replace(request, run_id=request.run_id or new_run_id())
        made = ClusterSubmission(request)
        self._submissions[made.id] = made
        place = self._places.take()
        made.task = asyncio.create_task(self._make(made, place))
        made.task.add_done_callback(partial(self._end, made, place))
        return made

    def get(self, submission_id: str) -> ClusterSubmission | None:
        """See `Engine.get`."""
        return self._submissions.get(submission_id)

    async def aclose(self) -> None:
        """See `Engine.aclose`."""
        self._is_closed = True
        made = tuple(self._submissions.values())
        for each in made:
            if each.place is None and each.task is not None:
                each.task.cancel()
        for task in self._mending:
            task.cancel()
        await asyncio.gather(*self._mending, return_exceptions=True)
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.stop() for worker in workers))
        await asyncio.gather(*(each.task for each in made if each.task is not None), return_exceptions=True)
        for worker in workers:
            worker.kill()
        await self.live.aclose()
        await self._backends.aclose()
        await asyncio.to_thread(self._nodes.leave)

    async def _start(self) -> None:
        async with self._starting:
            if not self._workers and not self._is_closed:
                await asyncio.to_thread(self._nodes.join)
                self._workers = await asyncio.to_thread(self._nodes.workers)

    async def _make(self, made: ClusterSubmission, place: asyncio.Future[None]) -> RLMResult:
        """Wait for a place, and have the run made, under leases of what it shares with others."""
        await place
        await self._start()
        asked, times = asked_of(made.request, made.acts), 1
        counted = _counted_before(made.request, self._backends)
        lease = await Lease.draw(made.request, self._max_running)
        try:
            while True:
                asked, result = await self._made(made, lease.of(asked))
                more, cost_usd = counted.beyond(result)
                lease.settle(more, cost_usd)
                if result.limit != SharedBudgetExhausted.limit or lease.is_unlimited:
                    return result
                counted, times = Counted(usage=result.usage, cost_usd=result.cost_usd), 2 * times
                try:
                    lease = await Lease.draw(made.request, self._max_running, times)
                except SharedBudgetExhausted:
                    return result
                asked = _going_on(asked, made)
        finally:
            lease.settle(RunUsage(), 0.0)

    async def _made(self, made: ClusterSubmission, asked: RunAsked) -> tuple[RunAsked, RLMResult]:
        """What a run comes to, whichever worker ends it, and how that was asked."""
        for _ in range(LOSSES):
            while not self._workers:
                await self._mended()
            worker = min(self._workers, key=lambda each: len(each.running))
            made.begin(worker, asked.run_id)
            try:
                return asked, result_of(await worker.run(asked))
            except WorkerLost as error:
                lost = error
                self._replace(worker)
                asked = await asyncio.to_thread(_going_on, asked, made)
        raise RunFailed(f"given up after {LOSSES} workers were lost with it: {lost}")

    def _replace(self, worker: NodeWorker) -> None:
        """Have another worker in the place of one that is lost, in a while."""
        if worker in self._workers:
            self._workers.remove(worker)
            task = asyncio.create_task(self._another(worker))
            self._mending.add(task)

    async def _another(self, lost: NodeWorker) -> None:
        await asyncio.to_thread(lost.kill)
        self._workers.append(await self._nodes.another(lost, elsewhere=not self._workers))

    async def _mended(self) -> None:
        """Wait until there is a worker again.

        Raises:
            RunFailed: there can be none any more.
        """
        if self._is_closed or not self._mending:
            raise RunFailed("the engine is closed, or has no worker left")
        done, self._mending = await asyncio.wait(self._mending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _end(self, made: ClusterSubmission, place: asyncio.Future[None], task: asyncio.Task[RLMResult]) -> None:
        self._places.give_back(place)
        del self._submissions[made.id]
        made.end(task)


def _going_on(asked: RunAsked, made: ClusterSubmission) -> RunAsked:
    """How a run is asked for once more: it goes on from its record, if that goes as far as its task."""
    record = log_folder(made.request.config.log_dir).absolute() / f"{asked.run_id}.jsonl"
    if not record.exists():
        return asked
    again = msgspec.structs.replace(asked, run_id=next_run_id(asked.run_id))
    if not have_begun([record]):
        return again
    return msgspec.structs.replace(again, resumes=str(record), on_divergence="continue", acts=[])


def _counted_before(request: Request, backends: BackendPool) -> Counted:
    """What the runs used with which a request goes on: whoever resumes them has counted it."""
    if request.resumption is None:
        return Counted(usage=RunUsage(), cost_usd=0.0)
    spent = spent_in(request.resumption.record.root, request.config, backends)
    return Counted(usage=spent.usage, cost_usd=spent.cost_usd)


def _put(mark: Path) -> None:
    try:
        make_folder(mark.parent)
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(f"{mark.parent} can't be written: {error.strerror}; set log_dir") from error
