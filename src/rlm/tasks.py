"""Task lists from Python: `cc_execute` for one task, `cc_execute_list` and `cc_execute_task_list` for many, each task
in a run of its own with a fresh conversation. Every function is plain outside of an event loop; within one its result
is to be awaited."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import msgspec

from rlm.core.config import Config
from rlm.core.exceptions import OutputValidationError, RunFailed
from rlm.jobs.tasks.doing import do_list, plan_of
from rlm.jobs.tasks.history import as_text, history
from rlm.jobs.tasks.prompts import amended, unclear_in
from rlm.jobs.tasks.reading import check_list, read_task_list
from rlm.jobs.tasks.receipts import write_receipt_of
from rlm.jobs.tasks.values import GivenList, ListedTask, TaskList, TaskListResult, TaskOutcome
from rlm.runtime.models import BackendPool
from rlm.runtime.user_code import CallThread, UserBackend, threaded
from rlm.sinks.progress import StepLines, notice_text, task_text
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from typing import Unpack

    from rlm.core.events import Event
    from rlm.core.interfaces import Backend, Sink
    from rlm.jobs.tasks.planning import ListPlan

__all__ = [
    "Task",
    "TaskList",
    "TaskListResult",
    "TaskOutcome",
    "cc_execute",
    "cc_execute_list",
    "cc_execute_task_list",
    "export_execution_history",
]

T = TypeVar("T")
Task = ListedTask


class TaskOptions(TypedDict, total=False):
    """TaskOptions tasks are done."""

    model: str | Backend
    """The model of tasks that name none: a name, or a backend that serves every name."""
    config: Config
    """The settings; by default what `Config.load()` finds."""
    progress_callback: Callable[[str], object]
    """Called with a line for each thing that happens, on a thread of its own."""
    stream: bool
    """Show each step of the runs on stderr."""


class ResultOptions(TaskOptions, total=False):
    """TaskOptions tasks are done, and what is given back of them."""

    json_mode: bool
    """An object for each task instead of its answer as text: `result`, `files_created`, `files_modified` (what was
    found changed, not what was claimed), `success`, `error`, `run_id`, `duration_s`, `cost_usd`, `validation`, `report`
    and `warnings`."""
    generate_report: bool
    """Write a receipt in Markdown beside the record of each run."""
    validation_prompt: str
    """A question about each answer, that a fresh model decides."""
    amend_prompt: bool
    """Suggest a clearer prompt where one is ambiguous: it is shown, and never sent."""


def cc_execute(task: str | Task, context: Any = None, **how: Unpack[ResultOptions]) -> Any:
    """Do one task and return its answer as text or, with `json_mode`, as an object.

    Raises:
        ConfigError: it is not possible as asked, such as a prompt larger than the model's window.
        OutputValidationError: its answer is not valid; with `json_mode`, the object says so instead.
        RunFailed: it failed, or reached a limit; as before.
    """
    given = Task("task", task) if isinstance(task, str) else task
    if context is not None:
        given = msgspec.structs.replace(given, context=context)

    async def one() -> Any:
        return (await _results(TaskList(tasks=(given,)), how))[0]

    return _either(one)


def cc_execute_list(
    tasks: Iterable[str | Task], *, sequential: bool = True, stop_on_error: bool = True, **how: Unpack[ResultOptions]
) -> Any:
    """Do tasks one after the other, each with the answers of those before it as data, and return for each what
    `cc_execute` does.

    Raises:
        RLMError: as `cc_execute`, for the first that did not complete.
    """
    listed = TaskList(tasks=_named(tasks), sequential=sequential, stop_on_error=stop_on_error)
    return _either(lambda: _results(listed, how))


def cc_execute_task_list(
    tasks: TaskList | str | Path | Iterable[str | Task],
    *,
    resume: bool = False,
    only: Iterable[str] = (),
    **how: Unpack[TaskOptions],
) -> Any:
    """Do a task list and return a `TaskListResult`, which says of every task what became of it. `tasks` is a
    `TaskList`, the path of a file, or prompts and tasks that are done one after the other.

    Raises:
        ConfigError: it can't be done as it is; names every fault.
    """
    listed = _listed(tasks)

    async def done() -> TaskListResult:
        plan = await asyncio.to_thread(plan_of, listed, _settings(how), only=only, resume=resume)
        return await _done(plan, how)

    return _either(done)


def export_execution_history(
    format: Literal["json", "csv"] = "json",  # noqa: A002 - the name that it has elsewhere
    limit: int = 100,
    *,
    config: Config | None = None,
) -> Any:
    """The last tasks of this project, the newest first, as text: a JSON list, or CSV with a header."""

    async def exported() -> str:
        folder = log_folder((config or Config.load().config).log_dir)
        return as_text(await asyncio.to_thread(history, folder, limit), format)

    return _either(exported)


def _settings(how: TaskOptions) -> Config:
    base, model = how.get("config") or Config.load().config, how.get("model")
    if model is None:
        return base
    name = model if isinstance(model, str) else base.model or type(model).__name__
    return msgspec.structs.replace(base, model=name, sub_model=None)


def _either(work: Callable[[], Coroutine[Any, Any, T]]) -> T | Awaitable[T]:
    """The result, or within an event loop what is to be awaited for it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    return work()


async def _results(listed: TaskList, how: ResultOptions) -> list[Any]:
    """What is given back of each task."""
    if question := how.get("validation_prompt"):
        tasks = (msgspec.structs.replace(each, validation=each.validation or question) for each in listed.tasks)
        listed = msgspec.structs.replace(listed, tasks=tuple(tasks))
    given = GivenList(tasks=listed, folder=Path.cwd())
    check_list(given)
    unclear = {task.id: unclear_in(task.prompt, has_data=_has_data(listed, task)) for task in listed.tasks}
    for task in listed.tasks:
        _tell(task, unclear[task.id], how)
    settings = _settings(how)
    result = await _done(await asyncio.to_thread(plan_of, given, settings), how)
    reports = await asyncio.to_thread(_reports, listed, result, settings) if how.get("generate_report") else {}
    if how.get("json_mode"):
        folder = result.record.parent
        return [_as_object(each, reports.get(each.id), folder, unclear[each.id]) for each in result]
    for outcome in result:
        _raise_if_failed(outcome)
    return [outcome.response for outcome in result]


def _reports(listed: TaskList, result: TaskListResult, settings: Config) -> dict[str, Path]:
    """The paths of the receipts that are written, by the ids of the tasks."""
    model, folder = settings.model or "", result.record.parent
    return {
        task.id: write_receipt_of(outcome, task.prompt, task.model or model, folder)
        for task, outcome in zip(listed.tasks, result, strict=True)
        if outcome.run_id
    }


async def _done(plan: ListPlan, how: TaskOptions) -> TaskListResult:
    thread = CallThread(lasting=True)
    progress = how.get("progress_callback")
    sinks: list[Sink] = [] if progress is None else [threaded(_Lines(progress))]
    run_sinks: tuple[Sink, ...] = (StepLines(sys.stderr),) if how.get("stream") else ()
    try:
        return await do_list(plan, BackendPool(_backend(how.get("model"), thread)), sinks, run_sinks=run_sinks)
    finally:
        for sink in sinks:
            await asyncio.to_thread(sink.close)
        thread.close()


def _backend(model: str | Backend | None, thread: CallThread) -> Backend | None:
    if model is None or isinstance(model, str):
        return None
    return model if getattr(model, "on_loop", False) else UserBackend(backend=model, thread=thread)


def _listed(tasks: TaskList | str | Path | Iterable[str | Task]) -> GivenList:
    if isinstance(tasks, str | Path):
        return read_task_list(Path(tasks))
    if not isinstance(tasks, TaskList):
        named = [
            Task(f"task-{number}", each) if isinstance(each, str) else each for number, each in enumerate(tasks, 1)
        ]
        tasks = TaskList(tasks=tuple(named), sequential=True)
    given = GivenList(tasks=tasks, folder=Path.cwd())
    check_list(given)
    return given


def _named(tasks: Iterable[str | Task]) -> tuple[Task, ...]:
    """The tasks, of which prompts get ids by their place."""
    return tuple(
        Task(f"task-{number}", each) if isinstance(each, str) else each for number, each in enumerate(tasks, 1)
    )


def _has_data(listed: TaskList, task: Task) -> bool:
    return task.context is not None or bool(task.files) or bool(listed.needed_by(task))


def _tell(task: Task, unclear: tuple[str, ...], how: ResultOptions) -> None:
    """Warn of what is unclear about a prompt, and show how it might be made clear."""
    said = [f"warning: the prompt of {task.id} may be unclear: {each}" for each in unclear]
    if unclear and how.get("amend_prompt"):
        said.append(f"suggestion, which is not sent: {amended(task.prompt)}")
    for line in said:
        (how.get("progress_callback") or _say)(line)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _as_object(outcome: TaskOutcome, report: Path | None, folder: Path, unclear: tuple[str, ...]) -> dict[str, Any]:
    artifacts = [str(folder / f"{outcome.run_id}.artifacts" / name) for name in outcome.files]
    judged = None if outcome.is_valid is None else {"is_valid": outcome.is_valid, "reason": outcome.verdict}
    return {
        "result": outcome.response if outcome.value is None else outcome.value,
        "files_created": [*outcome.created, *artifacts],
        "files_modified": list(outcome.modified),
        "success": outcome.state == "completed",
        "error": outcome.error,
        "run_id": outcome.run_id,
        "duration_s": outcome.duration_s,
        "cost_usd": outcome.cost_usd,
        "validation": judged,
        "report": None if report is None else str(report),
        "warnings": list(unclear),
    }


def _raise_if_failed(outcome: TaskOutcome) -> None:
    if outcome.state == "completed":
        return
    said = f"{outcome.id}: {outcome.error or outcome.state}"
    raise OutputValidationError(said) if outcome.is_valid is False else RunFailed(said)


class _Lines:
    """The sink that passes events on as lines of text."""

    def __init__(self, callback: Callable[[str], object]) -> None:
        self._callback = callback

    def write(self, event: Event) -> None:
        if line := task_text(event) or notice_text(event):
            self._callback(line)

    def close(self) -> None:
        """There is nothing to close."""
