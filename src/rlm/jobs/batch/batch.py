"""Asks the questions of a batch: so many at one time, each as a run of its own, under caps that hold for all of them.

A question is done when the journal has its end. What has begun and not ended is known from its record; it goes on from
there, and what it spent counts before anything new is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.budget import Ledger
from rlm.core.exceptions import RLMError, TimeLimitReached
from rlm.core.replay.record import Spent
from rlm.core.types import RunUsage
from rlm.jobs.batch.journal import BatchJournal, Entry
from rlm.jobs.batch.outputs import write_outputs
from rlm.jobs.batch.records import ENDS_ALL, Records, amounts, value_of
from rlm.runtime.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.outcome import RLMResult
    from rlm.jobs.batch.folder import BatchFolder, BatchManifest
    from rlm.jobs.batch.questions import BatchQuestion, Questions
    from rlm.jobs.engines.engine import Engine
    from rlm.runtime.models import BackendPool

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
class Plan:
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

    def __init__(self, plan: Plan, engine: Engine, watch: Callable[[BatchStatus], object] | None = None) -> None:
        """`watch` is called whenever a question has ended."""
        self._plan = plan
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
        self._running = 0
        self._stopped: RLMError | None = None
        self._ended_at: deque[float] = deque(maxlen=_RATED)
        self._began_at = time.monotonic()
        self._worked_s = 0.0

    @property
    def status(self) -> BatchStatus:
        """How it stands."""
        usage, now, ended = self.ledger.usage(), time.monotonic(), self._ended_at
        return BatchStatus(
            count=self._plan.manifest.count,
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
        return self._worked_s + time.monotonic() - self._began_at

    async def run(self) -> BatchReport:
        """Ask what is left to be asked, and write the outputs once nothing is; cancelling it leaves the rest to be
        resumed.

        Raises:
            ConfigError: the questions can't be read any more.
        """
        try:
            if self._plan.is_resumed:
                await asyncio.to_thread(self._count_spent)
            timeout_s = self._plan.caps.timeout_s
            try:
                async with asyncio.timeout(None if timeout_s is None else max(0.0, timeout_s - self._worked_s)):
                    await self._ask_all()
            except TimeoutError:
                assert timeout_s is not None
                self._stopped = TimeLimitReached(f"timeout_s of {timeout_s:g} s passed over the whole batch")
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
        for position in range(self._plan.manifest.count):
            if position not in self._journal and (begun := self._records.count(position)):
                self._restore(self._records.spent(position, begun - 1))

    def _restore(self, spent: Spent) -> None:
        self.ledger.restore(spent.usage, spent.cost_usd)

    async def _ask_all(self) -> None:
        left = self._left()
        async with asyncio.TaskGroup() as asking:
            for _ in range(self._plan.concurrency):
                asking.create_task(self._ask_some(left))

    def _left(self) -> Iterator[BatchQuestion]:
        for question in self._plan.questions:
            position = question.position
            if position not in self._journal or (self._plan.retry_failed and not self._journal.is_completed(position)):
                yield question

    async def _ask_some(self, left: Iterator[BatchQuestion]) -> None:
        """Ask one question after the other, until none is left or something ends the batch."""
        try:
            for question in left:
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
        run_id = self._plan.manifest.run_id(question.position, number)
        submission = await self._engine.submit(replace(request, run_id=run_id, above=self.ledger))
        try:
            result = await submission.result()
        except ENDS_ALL:
            raise
        except RLMError as error:
            return Entry(position=question.position, id=question.id, status="refused", error=_said(error))
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
            output_type=self._plan.manifest.output_schema,
            config=self._plan.config,
        )

    def _entry(self, question: BatchQuestion, number: int, result: RLMResult, beside: Spent) -> Entry:
        spent = Spent(usage=result.usage, cost_usd=result.cost_usd) + beside
        schema: Any = self._plan.manifest.output_schema
        return Entry(
            position=question.position,
            id=question.id,
            status=result.status,
            answer=result.response,
            value=value_of(result.response, schema) if result.success else None,
            limit=result.limit,
            error=None if result.error is None else _said(result.error),
            run=result.run_id,
            attempt=number,
            duration_s=round(result.duration_s, 3),
            **amounts(spent),
        )

    def _report(self) -> BatchReport:
        """What it came to, with the outputs written if every question has ended."""
        outputs = None
        if self._stopped is None and self._journal.ended == self._plan.manifest.count:
            outputs = self._plan.folder.outputs(self._plan.manifest.format)
            write_outputs(outputs, self._journal, self._plan.manifest)
        failed = (entry for entry in self._journal if not entry.is_completed)
        failures = tuple(islice(failed, min(_FAILURES, self._journal.ended - self._journal.completed)))
        return BatchReport(status=self.status, stopped=self._stopped, outputs=outputs, failures=failures)


_AMOUNTS = ("input_tokens", "output_tokens", "cached_tokens")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
