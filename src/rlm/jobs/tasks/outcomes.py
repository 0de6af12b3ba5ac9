"""What became of a task, as its run, its record or an earlier part of its list says."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import LimitReached
from rlm.jobs.tasks.data import artifacts_of
from rlm.jobs.tasks.values import TaskOutcome
from rlm.trajectory.task_lists import end_of_run

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.events import TaskEnd
    from rlm.core.exceptions import RLMError
    from rlm.core.outcome import RLMResult
    from rlm.jobs.tasks.values import ListedTask, TaskState


class SpentOnTask:
    """What the attempts at a task used together."""

    def __init__(self) -> None:
        self.tokens = 0
        self.cost_usd: float | None = 0.0
        self.seconds = 0.0

    def add(self, outcome: TaskOutcome) -> None:
        """Count one more attempt."""
        self.tokens += outcome.tokens
        self.seconds += outcome.duration_s
        unknown = self.cost_usd is None or outcome.cost_usd is None
        self.cost_usd = None if unknown else (self.cost_usd or 0.0) + (outcome.cost_usd or 0.0)


def failed_outcome(task: ListedTask, error: RLMError, *, is_cancelled: bool) -> TaskOutcome:
    """The outcome of a task that an error ended."""
    said = f"{type(error).__name__}: {error}"
    state: TaskState = "cancelled" if is_cancelled else "failed"
    return TaskOutcome(id=task.id, state=state, error=said, limit=isinstance(error, LimitReached))


def outcome_of_run(task: ListedTask, result: RLMResult, files: tuple[str, ...]) -> TaskOutcome:
    """The outcome of a task whose run came to a result, and saved these artifacts."""
    error = None if result.error is None else f"{type(result.error).__name__}: {result.error}"
    return TaskOutcome(
        id=task.id,
        state="completed" if result.success else "cancelled" if result.status == "cancelled" else "failed",
        response=result.response,
        value=_value(task, result.response, result.value),
        run_id=result.run_id,
        files=files,
        error=None if result.success else error or f"it ended with status {result.status}",
        limit=result.status == "limit",
        tokens=result.usage.input_tokens + result.usage.output_tokens,
        cost_usd=result.cost_usd,
        duration_s=result.duration_s,
    )


def outcome_on_record(task: ListedTask, record: Path) -> TaskOutcome | None:
    """The outcome of a run that completed though its list was cut off before it heard of that; None for others."""
    end = end_of_run(record)
    if end is None or end.status != "completed":
        return None
    return TaskOutcome(
        id=task.id,
        state="completed",
        response=end.response,
        value=_value(task, end.response, None),
        run_id=record.stem,
        files=artifacts_of(record.with_suffix(".artifacts")),
        tokens=end.usage.input_tokens + end.usage.output_tokens,
        cost_usd=end.cost_usd,
        duration_s=end.duration_s,
    )


def earlier_outcome(end: TaskEnd) -> TaskOutcome:
    """The outcome of a task that completed in an earlier part of its list."""
    return TaskOutcome(
        id=end.task,
        state="completed",
        response=end.response,
        value=end.value,
        run_id=end.run,
        attempts=end.attempts,
        files=tuple(end.files),
        created=tuple(end.created),
        modified=tuple(end.modified),
        exit_code=end.exit_code,
        is_valid=end.is_valid,
        verdict=end.verdict,
        validation_run=end.validation_run,
        tokens=end.tokens,
        cost_usd=end.cost_usd,
        duration_s=end.duration_s,
        is_earlier=True,
    )


def _value(task: ListedTask, response: str, value: Any) -> Any:
    """The answer as a JSON value, where it is more than text."""
    if task.output_type is not None or (value is None and response[:1] in ("{", "[")):
        with suppress(ValueError):
            return json.loads(response)
    if value is None or isinstance(value, str):
        return None
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError):
        return None
