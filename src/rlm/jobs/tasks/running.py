"""Does a task list: begins each task once what it needs is there, hands answers on, and records what became of each."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rlm.core.budget import Ledger
from rlm.core.events import VERSION, TaskEnd, TaskOutput, TasksEnd, TasksStart, TaskStart, Warned
from rlm.core.exceptions import ConfigError, HookDenied, LimitReached, RLMError
from rlm.core.off_loop import off_loop_if_large
from rlm.core.record.recorder import Recorder, new_run_id
from rlm.core.types import RunUsage
from rlm.files.seen import FilesSeen
from rlm.hooks.values import HookContext
from rlm.jobs.tasks.data import artifacts_of, data_of, saved_texts
from rlm.jobs.tasks.executors import Execution, Order
from rlm.jobs.tasks.outcomes import (
    SpentOnTask,
    earlier_outcome,
    failed_outcome,
    outcome_of_run,
    outcome_on_record,
)
from rlm.jobs.tasks.requests import TaskAttempt, check_models, config_of, request_of
from rlm.jobs.tasks.validating import Verdict, validation_request, verdict_of
from rlm.jobs.tasks.values import TaskListResult, TaskOutcome
from rlm.runtime.control import Act
from rlm.secrets import masker
from rlm.trajectory.chain import receipt_key
from rlm.trajectory.places import log_folder
from rlm.trajectory.task_lists import ENDING, spent_by_run
from rlm.trajectory.writer import TrajectoryWriter
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.interfaces import Masker, Sink
    from rlm.core.outcome import RLMResult
    from rlm.core.record.recorder import Span
    from rlm.jobs.engines.local import LocalEngine
    from rlm.jobs.tasks.planning import ListPlan
    from rlm.jobs.tasks.values import ListedTask
    from rlm.runtime.control import RunStatus
    from rlm.runtime.request import Request

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
OUTPUT_CHARS = 1_000_000
"""How much of what a program writes is in the record of its list."""
_BLOCKING = frozenset({"failed", "blocked", "skipped", "cancelled"})


class ListRun:
    """A task list in progress; used on the event loop of its engine only."""

    def __init__(self, plan: ListPlan, engine: LocalEngine, sinks: Iterable[Sink] = ()) -> None:
        """Raises:
        ConfigError: a model of it can't be had.
        RecordError: no record can be written.
        """
        check_models(plan, engine.parts.backends)
        self._hooks = engine.parts.hooks(plan.config)
        self.plan = plan
        self.id = new_run_id()
        self.started_at = time.time()
        self.outcomes = {task.id: TaskOutcome(id=task.id, state="pending") for task in plan.listed.tasks.tasks}
        self.submissions: dict[str, Work[Any]] = {}
        """The runs and programs in progress, by their tasks."""
        self.is_paused = False
        self._engine = engine
        journal = TrajectoryWriter(log_folder(plan.config.log_dir), f"{self.id}{ENDING}", receipt_key(os.environ))
        self.record = journal.path
        self._masking = masker(plan.config.mask)
        self._recorder = Recorder(self.id, journal, sinks, self._masking)
        self._spans = {task.id: self._recorder.root.child() for task in plan.listed.tasks.tasks}
        self._above = _shared_ledger(plan, self.record.parent)
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._moved = asyncio.Event()
        self._began = time.monotonic()
        self._is_stopping = self._is_cancelled = False
        self._fault: BaseException | None = None
        """An error that is no outcome of a task; the list ends with it."""

    async def run(self) -> TaskListResult:
        """Do the list to its end; where this is cancelled, what is in progress lands first."""
        try:
            self._begin()
            while self._go_on():
                await self._moved.wait()
                self._moved.clear()
        except asyncio.CancelledError:
            self.cancel()
            await self._landed()
            raise
        finally:
            self._end()
        if self._fault is not None:
            raise self._fault
        return self._result()

    def cancel(self) -> None:
        """Begin nothing more, and have what is in progress land."""
        self._is_cancelled = self._is_stopping = True
        for submission in self.submissions.values():
            _act(submission, Act(action="cancel", who="the task list"))
        self._moved.set()

    def pause(self, act: Act) -> None:
        """Begin nothing more, and pause what is in progress, until `go_on`."""
        self.is_paused = True
        for submission in self.submissions.values():
            _act(submission, act)

    def go_on(self, act: Act) -> None:
        """Go on after a pause."""
        self.is_paused = False
        for submission in self.submissions.values():
            _act(submission, act)
        self._moved.set()

    def note(self, body: Any) -> None:
        """Put an event of the whole list on record."""
        self._recorder.record(self._recorder.root, body)

    @property
    def cost_usd(self) -> float | None:
        """What the runs that have ended cost; None where a price is unknown."""
        costs = [each.cost_usd for each in self.outcomes.values()]
        return None if None in costs else sum(cost or 0.0 for cost in costs)

    def _begin(self) -> None:
        plan, given = self.plan, self.plan.listed.tasks
        self.note(
            TasksStart(
                version=VERSION,
                rlm_version=__version__,
                name=given.name,
                source=plan.listed.source,
                tasks=dict(plan.digests),
                selected=[name for name in self.outcomes if name in plan.selected],
                sequential=given.sequential,
                budget=given.budget,
                resumed_from=plan.resumed_from,
            )
        )
        for said in plan.notes:
            self.note(Warned(message=said))
        for name, end in plan.done.items():
            self.outcomes[name] = earlier_outcome(end)
        for name in self.outcomes.keys() - plan.selected - plan.done.keys():
            self._settle(TaskOutcome(id=name, state="skipped", error="it was not selected"))

    def _go_on(self) -> bool:
        """Begin what can be begun; False once nothing is left to do or to wait for."""
        for task in self.plan.listed.tasks.tasks:
            if self.outcomes[task.id].state == "pending":
                self._consider(task)
        return bool(self._doing) or any(each.state == "pending" for each in self.outcomes.values())

    def _consider(self, task: ListedTask) -> None:
        """Begin a task, or settle what becomes of it without, or leave it to wait."""
        if self._is_stopping or self._left_s() == 0:
            self._settle(self._unbegun(task))
            return
        wrong = [name for name in task.needs if self.outcomes[name].state in _BLOCKING]
        if wrong:
            said = f"it needs {', '.join(wrong)}, which did not complete"
            self._settle(TaskOutcome(id=task.id, state="blocked", error=said))
            return
        places = 1 if self.plan.listed.tasks.sequential else self.plan.listed.tasks.concurrency
        is_ready = all(self.outcomes[name].state == "completed" for name in task.needs)
        if is_ready and not self.is_paused and len(self._doing) < places:
            self.outcomes[task.id] = TaskOutcome(id=task.id, state="running")
            doing = self._doing[task.id] = asyncio.create_task(self._do(task))
            doing.add_done_callback(lambda done: self._done_with(task.id, done))

    def _unbegun(self, task: ListedTask) -> TaskOutcome:
        if self._is_cancelled:
            return TaskOutcome(id=task.id, state="cancelled", error="the list was cancelled before it began")
        if self._is_stopping:
            return TaskOutcome(id=task.id, state="skipped", error="a task failed before it, and the list stops then")
        return TaskOutcome(id=task.id, state="skipped", error="timeout_s of the list had passed before it began")

    def _done_with(self, name: str, done: asyncio.Task[None]) -> None:
        del self._doing[name]
        self._fault = self._fault or (None if done.cancelled() else done.exception())
        if self._fault is not None:
            self.cancel()
        self._moved.set()

    async def _do(self, task: ListedTask) -> None:
        if (denied := await self._denied(task, TaskOutcome(id=task.id, state="pending"))) is not None:
            self._settle(TaskOutcome(id=task.id, state="failed", error=denied))
            return
        outcome, spent = TaskOutcome(id=task.id, state="failed"), SpentOnTask()
        before = await self._files_of(task)
        for attempt in range(1, task.retries + 2):
            outcome = await self._attempt(task, attempt, outcome.verdict)
            if outcome.state == "completed" and task.validation:
                outcome = await self._judged(task, outcome)
            spent.add(outcome)
            if outcome.state != "failed" or self._is_stopping:
                break
        after = await self._files_of(task)
        if (denied := await self._denied(task, outcome)) is not None and outcome.state == "completed":
            outcome = replace(outcome, state="failed", error=denied)
        self._settle(
            replace(
                outcome,
                attempts=attempt,
                created=after.created_since(before),
                modified=after.modified_since(before),
                tokens=spent.tokens,
                cost_usd=spent.cost_usd,
                duration_s=spent.seconds,
            )
        )
        if outcome.state == "failed" and self.plan.listed.tasks.stop_on_error:
            self._is_stopping = True

    async def _denied(self, task: ListedTask, outcome: TaskOutcome) -> str | None:
        """Why a hook keeps a task from beginning or, once it has ended, its answer from standing; None: none does."""
        if self._hooks is None:
            return None
        span = self._spans[task.id]
        context = HookContext(
            point="pre_task" if outcome.state == "pending" else "post_task",
            run_id=self.id,
            task=task.id,
            prompt=task.prompt,
            model=config_of(self.plan, task).model or "",
            environment=self.plan.config.environment,
            workspace=self.plan.config.allowed_paths,
            status="" if outcome.state == "pending" else outcome.state,
            response=outcome.response,
            error=outcome.error or "",
            cost_usd=outcome.cost_usd,
            duration_s=outcome.duration_s,
        )
        try:
            await self._hooks.ask(context, self._masking, lambda body: self._recorder.record(span, body))
        except HookDenied as denied:
            return str(denied)
        return None

    def _workspace_of(self, task: ListedTask) -> Path:
        """The folder in which the program of a task works."""
        return (self.plan.listed.folder / Path(task.workspace).expanduser()).resolve()

    async def _files_of(self, task: ListedTask) -> FilesSeen:
        """The files of the workspace of a task, as they are now."""
        allowed = map(Path, self.plan.config.allowed_paths)
        folders = (self._workspace_of(task),) if task.is_program else tuple(allowed)
        return await asyncio.to_thread(FilesSeen.of, folders) if folders else FilesSeen()

    async def _judged(self, task: ListedTask, outcome: TaskOutcome) -> TaskOutcome:
        """The outcome of a task with the verdict on it; what can't be judged is not valid."""
        texts = dict(saved_texts(self._artifacts_of(outcome.run_id), outcome.files))
        request = validation_request(task, outcome, config_of(self.plan, task), texts)
        try:
            verdict = verdict_of(await self._made(task, request))
        except RLMError as error:
            verdict = Verdict(is_valid=False, reason=f"it could not be judged: {error}")
        unknown = outcome.cost_usd is None or verdict.cost_usd is None
        return replace(
            outcome,
            state="completed" if verdict.is_valid else "failed",
            is_valid=verdict.is_valid,
            verdict=verdict.reason,
            validation_run=verdict.run_id,
            error=None if verdict.is_valid else f"its answer is not valid: {verdict.reason}",
            tokens=outcome.tokens + verdict.tokens,
            cost_usd=None if unknown else (outcome.cost_usd or 0.0) + (verdict.cost_usd or 0.0),
        )

    async def _by_program(self, task: ListedTask, number: int, refused: str) -> TaskOutcome:
        """Have a program do a task once."""
        attempt = TaskAttempt(task=task, run_id="", refused=refused)
        span, config = self._spans[task.id], config_of(self.plan, task)
        self._recorder.record(span, TaskStart(task=task.id, attempt=number, run=""))
        own_s, left_s = config.budget.timeout_s, self._left_s()
        output = _Output(self._recorder, span, self._masking)
        try:
            self._recorder.check()
            order = Order(
                task=task,
                prompt=attempt.prompt,
                data=await asyncio.to_thread(data_of, task, self.plan.listed.folder, self._before(task)),
                workspace=self._workspace_of(task),
                config=config,
                timeout_s=min((each for each in (own_s, left_s) if each is not None), default=None),
                on_output=output.add,
            )
            done = await self._working_on(task, Execution(order))
            response = await off_loop_if_large(self._recorder.mask, done.response)
        except RLMError as error:
            return failed_outcome(task, error, is_cancelled=self._is_cancelled)
        finally:
            output.close()
        return TaskOutcome(
            id=task.id,
            state="completed" if done.error is None else "failed",
            response=response,
            error=done.error,
            exit_code=done.exit_code,
            tokens=done.tokens,
            cost_usd=done.cost_usd,
            duration_s=done.duration_s,
        )

    async def _attempt(self, task: ListedTask, number: int, refused: str) -> TaskOutcome:
        """Do a task once; whatever goes wrong about it is its outcome."""
        if task.is_program:
            return await self._by_program(task, number, refused)
        earlier = self.plan.begun.get(task.id) if number == 1 else None
        cut_off = None if earlier is None else self._record_of(earlier)
        if cut_off is not None and (known := await asyncio.to_thread(outcome_on_record, task, cut_off)) is not None:
            return known
        attempt = TaskAttempt(
            task=task,
            run_id=new_run_id(),
            before=self._before(task),
            cut_off=cut_off if cut_off is not None and cut_off.exists() else None,
            left_s=self._left_s(),
            refused=refused,
        )
        try:
            result = await self._run_of(attempt, number)
        except RLMError as error:
            return TaskOutcome(
                id=task.id,
                state="failed",
                error=f"{type(error).__name__}: {error}",
                limit=isinstance(error, LimitReached),
            )
        files = artifacts_of(self._artifacts_of(result.run_id))
        return outcome_of_run(task, result, files)

    async def _run_of(self, attempt: TaskAttempt, number: int) -> RLMResult:
        request, why_not = await asyncio.to_thread(request_of, self.plan, attempt)
        task = attempt.task
        if why_not is not None:
            self._recorder.record(self._spans[task.id], Warned(message=f"{task.id} begins anew: {why_not}"))
        resumes = attempt.cut_off.stem if attempt.cut_off is not None and why_not is None else None
        start = TaskStart(task=task.id, attempt=number, run=attempt.run_id, resumes=resumes)
        self._recorder.record(self._spans[task.id], start)
        self._recorder.check()
        return await self._made(task, request)

    async def _made(self, task: ListedTask, request: Request) -> RLMResult:
        """What a run comes to, which can be paused and cancelled with the list."""
        return await self._working_on(task, await self._engine.submit(replace(request, above=self._above)))

    async def _working_on(self, task: ListedTask, work: Work[T]) -> T:
        """What a run or a program comes to, which can be paused and cancelled with the list."""
        self.submissions[task.id] = work
        if self._is_cancelled:
            _act(work, Act(action="cancel", who="the task list"))
        elif self.is_paused:
            _act(work, Act(action="pause", who="the task list"))
        try:
            return await work.result()
        finally:
            del self.submissions[task.id]

    def _before(self, task: ListedTask) -> list[tuple[TaskOutcome, Path]]:
        """The outcomes that a task gets, each with the folder of its artifacts."""
        names = self.plan.listed.tasks.needed_by(task)
        found = [self.outcomes[name] for name in names if self.outcomes[name].state == "completed"]
        return [(outcome, self._artifacts_of(outcome.run_id)) for outcome in found]

    def _record_of(self, run_id: str) -> Path:
        return self.record.with_name(f"{run_id}.jsonl")

    def _artifacts_of(self, run_id: str) -> Path:
        return self.record.with_name(f"{run_id}.artifacts")

    def _left_s(self) -> float | None:
        """What is left of the time of the list; None without a cap."""
        cap_s = self.plan.listed.tasks.budget.get("timeout_s")
        return None if cap_s is None else max(0.0, cap_s - (time.monotonic() - self._began))

    def _settle(self, outcome: TaskOutcome) -> None:
        self.outcomes[outcome.id] = outcome
        self._moved.set()  # others may wait for it
        end = TaskEnd(
            task=outcome.id,
            state=outcome.state,
            digest=self.plan.digests[outcome.id],
            run=outcome.run_id,
            attempts=outcome.attempts,
            response=outcome.response,
            value=outcome.value,
            files=list(outcome.files),
            created=list(outcome.created),
            modified=list(outcome.modified),
            error=outcome.error,
            exit_code=outcome.exit_code,
            is_valid=outcome.is_valid,
            verdict=outcome.verdict,
            validation_run=outcome.validation_run,
            tokens=outcome.tokens,
            cost_usd=outcome.cost_usd,
            duration_s=round(outcome.duration_s, 3),
        )
        self._recorder.record(self._spans[outcome.id], end)

    async def _landed(self) -> None:
        while self._doing:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._doing.values())
        self._go_on()

    def _end(self) -> None:
        result = self._result()
        state = "cancelled" if self._is_cancelled else "completed" if result.success else "failed"
        counts = dict(Counter[str](each.state for each in result.outcomes))
        self.note(
            TasksEnd(
                state=state,
                counts=counts,
                duration_s=round(result.duration_s, 3),
                cost_usd=result.cost_usd,
            )
        )
        self._recorder.close()

    def _result(self) -> TaskListResult:
        return TaskListResult(
            id=self.id,
            outcomes=tuple(self.outcomes.values()),
            cost_usd=self.cost_usd,
            duration_s=time.monotonic() - self._began,
            record=self.record,
            is_cancelled=self._is_cancelled,
        )


def _shared_ledger(plan: ListPlan, folder: Path) -> Ledger | None:
    """The ledger above all runs of a list, with what earlier parts of it spent; None where the list has no caps."""
    budget = plan.listed.tasks.budget
    tokens, cost_usd = budget.get("token_budget"), budget.get("cost_budget_usd")
    if tokens is None and cost_usd is None:
        return None
    counts = plan.config.budget.token_budget_counts
    ledger = Ledger.shared(token_budget=tokens, cost_budget_usd=cost_usd, counts=counts)
    spent = [(end.tokens, end.cost_usd) for end in plan.spent]
    spent += [spent_by_run(folder / f"{run}.jsonl") for run in plan.cut_off]
    for used, cost in spent:
        ledger.restore(RunUsage(input_tokens=used), cost)
    return ledger


class Work(Protocol[T_co]):
    """Something in progress that does a task: a run, or a program."""

    @property
    def status(self) -> RunStatus | None: ...

    def control(self, act: Act) -> None: ...

    async def result(self) -> T_co: ...


class _Output:
    """Records what a program writes, masked, up to a cap; what may be the beginning of a secret waits for the rest."""

    def __init__(self, recorder: Recorder, span: Span, masking: Masker | None) -> None:
        self._recorder = recorder
        self._span = span
        self._masked = None if masking is None else masking.stream()
        self._left_chars = OUTPUT_CHARS

    def add(self, text: str) -> None:
        if self._left_chars > 0:
            piece = text[: self._left_chars]
            self._left_chars -= len(piece)
            self._record(piece if self._masked is None else self._masked.feed(piece))

    def close(self) -> None:
        """Record what still waits."""
        if self._masked is not None:
            self._record(self._masked.close())

    def _record(self, text: str) -> None:
        if text:
            self._recorder.record(self._span, TaskOutput(text=text), is_masked=True)


def _act(work: Work[Any], act: Act) -> None:
    with suppress(ConfigError):  # it has ended meanwhile
        work.control(act)
