"""Asks the questions of a batch: so many at one time, each as a run of its own, under caps that hold for all of them.

A question is done when the journal has its end. What has begun and not ended is known from its record; it goes on from
there, and what it spent counts before anything new is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.budget import Ledger
from rlm.core.exceptions import BackendConnectionError, ConfigError, RLMError, RunFailed, TimeLimitReached
from rlm.core.replay.record import Spent
from rlm.core.types import RunUsage
from rlm.jobs.batch.journal import BatchJournal
from rlm.jobs.batch.outputs import write_outputs
from rlm.jobs.batch.records import ENDS_ALL, Records, amounts, value_of
from rlm.runtime.request import Request
from rlm.trajectory.batches import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.outcome import RLMResult
    from rlm.jobs.batch.folder import BatchFolder, BatchManifest
    from rlm.jobs.batch.questions import BatchQuestion, Questions
    from rlm.jobs.engines.engine import Engine, Submission
    from rlm.runtime.control import Act
    from rlm.runtime.models import BackendPool

_AMOUNTS = ("input_tokens", "output_tokens", "cached_tokens")


_OUTAGES = ("BackendConnectionError: ", "RateLimitError: ", "BadReplyError: ")
_MOST_LOST = 10
"""So many questions in a row that a provider loses end a batch: the others would be lost too."""
_FAILURES = 1_000
_RATED = 200
"""The rate is that of so many questions that ended last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCaps:
    """The caps over a whole batch, resumed or not."""

    token_budget: int | None = None
    cost_budget_usd: float | None = None
    timeout_s: float | None = None
    """For how long it may work, all in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """How a batch stands."""

    count: int
    completed: int
    failed: int
    running: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None where a price is unknown."""
    elapsed_s: float
    """For how long it has worked, all in all."""
    per_s: float
    """How many questions end in a second, of late; 0 while that isn't known."""

    @property
    def left(self) -> int:
        """How many questions have not ended."""
        return self.count - self.completed - self.failed

    @property
    def left_s(self) -> float | None:
        """How long the rest takes at this rate; None while that isn't known."""
        return self.left / self.per_s if self.per_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What a batch came to."""

    status: BatchStatus
    stopped: RLMError | None
    """Why it stopped before its end; None where every question has ended."""
    outputs: Path | None
    """The file of the outputs, where every question has ended."""
    failures: tuple[Entry, ...]
    """The first of the questions that came to no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """A batch that is ready to be asked."""

    folder: BatchFolder
    manifest: BatchManifest
    questions: Questions
    config: Config
    caps: BatchCaps
    concurrency: int
    backends: BackendPool
    is_resumed: bool = False
    retry_failed: bool = False


class Batch:
    """A batch in progress; used on one event loop only, in one process that holds its folder."""

    def __init__(self, plan: BatchPlan, engine: Engine, watch: Callable[[BatchStatus], object] | None = None) -> None:
        """`watch` is called whenever a question has ended."""
        self.plan = plan
        self._engine = engine
        self._watch = watch
        self._journal = BatchJournal(plan.folder.journal, plan.manifest.count)
        self._records = Records(manifest=plan.manifest, config=plan.config, backends=plan.backends)
        caps = plan.caps
        self.ledger = Ledger.shared(
            token_budget=caps.token_budget,
            cost_budget_usd=caps.cost_budget_usd,
            counts=plan.config.budget.token_budget_counts,
        )
        self._submissions: set[Submission] = set()
        self._running = 0
        self._lost = 0
        self._stopped: RLMError | None = None
        self._asking: asyncio.Task[None] | None = None
        self._clock = asyncio.timeout(None)
        self._going = asyncio.Event()
        self._going.set()
        self._paused_s = 0.0
        self._paused_at = 0.0
        self._ended_at: deque[float] = deque(maxlen=_RATED)
        self._began_at = time.monotonic()
        self._worked_s = 0.0

    @property
    def status(self) -> BatchStatus:
        """How it stands."""
        usage, now, ended = self.ledger.usage(), time.monotonic(), self._ended_at
        return BatchStatus(
            count=self.plan.manifest.count,
            completed=self._journal.completed,
            failed=self._journal.ended - self._journal.completed,
            running=self._running,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=self.ledger.cost_usd,
            elapsed_s=self._elapsed_s,
            per_s=len(ended) / (now - ended[0]) if len(ended) > 1 and now > ended[0] else 0.0,
        )

    @property
    def _elapsed_s(self) -> float:
        now = self._paused_at if self.is_paused else time.monotonic()
        return self._worked_s + now - self._began_at - self._paused_s

    @property
    def is_paused(self) -> bool:
        """Whether nothing new is begun just now."""
        return not self._going.is_set()

    def pause(self, act: Act) -> None:
        """Begin nothing more, in its runs either; what is under way ends, and the clock stands."""
        if self.is_paused:
            raise ConfigError("the batch is paused already")
        self._going.clear()
        self._paused_at = time.monotonic()
        self._keep_time()
        self._pass_on(act)

    def go_on(self, act: Act) -> None:
        """Go on after a pause."""
        if not self.is_paused:
            raise ConfigError("the batch is not paused")
        self._paused_s += time.monotonic() - self._paused_at
        self._going.set()
        self._keep_time()
        self._pass_on(act)

    def cancel(self, act: Act) -> None:
        """Stop: what is in progress lands, and can be resumed like the rest."""
        self._stopped = self._stopped or RunFailed(f"the batch was cancelled by {act.who or 'somebody'}")
        if self._asking is not None:
            self._asking.cancel()

    def _pass_on(self, act: Act) -> None:
        for submission in self._submissions:
            with suppress(ConfigError):  # one that is paused by itself, or has just ended
                submission.control(act)

    def _keep_time(self) -> None:
        """Have the clock end the batch when its time is up; it stands while the batch is paused."""
        timeout_s = None if self.is_paused else self.plan.caps.timeout_s
        if self._asking is not None:
            now = asyncio.get_running_loop().time()
            self._clock.reschedule(None if timeout_s is None else now + max(0.0, timeout_s - self._elapsed_s))

    async def run(self) -> BatchReport:
        """Ask what is left to be asked, and write the outputs once nothing is; cancelling it leaves the rest to be
        resumed.

        Raises:
            ConfigError: the questions can't be read any more.
        """
        try:
            if self.plan.is_resumed:
                await asyncio.to_thread(self._count_spent)
            await self._ask_in_time()
            return await asyncio.to_thread(self._report)
        finally:
            self._journal.close()

    def _count_spent(self) -> None:
        """Count what was spent before: as the journal has it or, of what began after that was written, the records."""
        for entry in self._journal:
            self._worked_s = max(self._worked_s, entry.elapsed_s)
            if entry.is_completed or not (begun := self._records.count(entry.position)) > entry.attempt + 1:
                usage = RunUsage(**{name: getattr(entry, name) for name in _AMOUNTS})
                self.ledger.restore(usage, entry.cost_usd)
            else:
                self._restore(self._records.spent(entry.position, begun - 1))
        for position in range(self.plan.manifest.count):
            if position not in self._journal and (begun := self._records.count(position)):
                self._restore(self._records.spent(position, begun - 1))

    def _restore(self, spent: Spent) -> None:
        self.ledger.restore(spent.usage, spent.cost_usd)

    async def _ask_in_time(self) -> None:
        try:
            async with self._clock:
                self._asking = asyncio.create_task(self._ask_all())
                self._keep_time()
                await self._asking
        except TimeoutError:
            self._stopped = TimeLimitReached(f"timeout_s of {self.plan.caps.timeout_s:g} s passed over the whole batch")
        except asyncio.CancelledError:
            if self._stopped is None:
                raise

    async def _ask_all(self) -> None:
        left = self._left()
        async with asyncio.TaskGroup() as asking:
            for _ in range(self.plan.concurrency):
                asking.create_task(self._ask_some(left))

    def _left(self) -> Iterator[BatchQuestion]:
        for question in self.plan.questions:
            position = question.position
            if position not in self._journal or (self.plan.retry_failed and not self._journal.is_completed(position)):
                yield question

    async def _ask_some(self, left: Iterator[BatchQuestion]) -> None:
        """Ask one question after the other, until none is left or something ends the batch."""
        try:
            for question in left:
                await self._going.wait()
                self._running += 1
                try:
                    self._note(await self._ask(question))
                finally:
                    self._running -= 1
                if self._stopped is not None:
                    return
        except RLMError as error:
            self._stopped = self._stopped or error

    def _note(self, entry: Entry) -> None:
        self._journal.add(msgspec.structs.replace(entry, elapsed_s=round(self._elapsed_s, 3)))
        self._ended_at.append(time.monotonic())
        self._lost = 0 if entry.is_completed else self._lost + (entry.error or "").startswith(_OUTAGES)
        if self._lost >= max(_MOST_LOST, 2 * self.plan.concurrency):
            self._stopped = BackendConnectionError(f"{self._lost} questions in a row were lost: {entry.reason}")
        if self._watch is not None:
            self._watch(self.status)

    async def _ask(self, question: BatchQuestion) -> Entry:
        """What a question comes to.

        Raises:
            RLMError: no other question can be answered either.
        """
        request, number, beside = await self._request(question)
        if isinstance(request, Entry):
            return request
        run_id = self.plan.manifest.run_id(question.position, number)
        submission = await self._engine.submit(replace(request, run_id=run_id, above=self.ledger))
        self._submissions.add(submission)
        try:
            result = await submission.result()
        except ENDS_ALL:
            raise
        except RLMError as error:
            return Entry(position=question.position, id=question.id, status="refused", error=_said(error))
        finally:
            self._submissions.discard(submission)
        if isinstance(result.error, ENDS_ALL):
            raise result.error
        return self._entry(question, number, result, beside)

    async def _request(self, question: BatchQuestion) -> tuple[Request | Entry, int, Spent]:
        """How a question is asked, the number of its run, and what runs before used with which it doesn't go on; or
        what became of it already."""
        begun = self._records.count(question.position)
        if begun:
            return await asyncio.to_thread(self._taken_up, question, begun)
        return self._anew(question), 0, Spent()

    def _taken_up(self, question: BatchQuestion, begun: int) -> tuple[Request | Entry, int, Spent]:
        position, last = question.position, begun - 1
        entry = self._journal.get(position)
        if entry is None or entry.attempt < last:
            ended = self._records.ended(question, last)
            if ended is not None:
                return ended, last, Spent()
        request = self._records.resumed(position, last)
        if request is None:
            return self._anew(question), begun, self._records.spent(position, last)
        return request, begun, self._records.spent_beside(position, last)

    def _anew(self, question: BatchQuestion) -> Request:
        return Request(
            prompt=question.prompt,
            context=question.context,
            output_type=self.plan.manifest.output_schema,
            config=self.plan.config,
        )

    def _entry(self, question: BatchQuestion, number: int, result: RLMResult, beside: Spent) -> Entry:
        spent = Spent(usage=result.usage, cost_usd=result.cost_usd) + beside
        run_id = self.plan.manifest.run_id(question.position, number)
        schema: Any = self.plan.manifest.output_schema
        return Entry(
            position=question.position,
            id=question.id,
            status=result.status,
            answer=result.response,
            value=value_of(result.response, schema) if result.success else None,
            limit=result.limit,
            error=None if result.error is None else _said(result.error),
            run=result.run_id,
            attempt=number if result.run_id == run_id else self._records.number_of(question.position, result.run_id),
            duration_s=round(result.duration_s, 3),
            **amounts(spent),
        )

    def _report(self) -> BatchReport:
        """What it came to, with the outputs written if every question has ended."""
        outputs = None
        if self._stopped is None and self._journal.ended == self.plan.manifest.count:
            outputs = self.plan.folder.outputs(self.plan.manifest.format)
            write_outputs(outputs, self._journal, self.plan.manifest)
        failed = (entry for entry in self._journal if not entry.is_completed)
        failures = tuple(islice(failed, min(_FAILURES, self._journal.ended - self._journal.completed)))
        return BatchReport(status=self.status, stopped=self._stopped, outputs=outputs, failures=failures)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
