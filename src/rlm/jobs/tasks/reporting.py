"""What became of a task list, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rlm.core.plain import one_line
from rlm.jobs.tasks.values import TaskOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.jobs.tasks.values import TaskListResult, TaskState
    from rlm.trajectory.task_lists import ListPast

_ANSWER_CHARS = 100
_ID_CHARS = 24


def outcomes_of(past: ListPast) -> tuple[TaskOutcome, ...]:
    """The tasks of a list as its record has them, in its order."""
    found: list[TaskOutcome] = []
    for name in past.start.tasks:
        if (begun := past.begun.get(name)) is not None:
            state: TaskState = "running" if past.is_running else "cancelled"
            error = None if past.is_running else "it was cut off"
            found.append(TaskOutcome(id=name, state=state, run_id=begun.run, error=error, attempts=begun.attempt))
        elif (end := past.ended.get(name)) is not None:
            ended = msgspec.structs.asdict(end)
            ended |= {"id": ended.pop("task"), "run_id": ended.pop("run"), "files": tuple(ended["files"])}
            ended |= {name: tuple(ended[name]) for name in ("created", "modified")}
            del ended["digest"]
            found.append(TaskOutcome(**ended))
        else:
            found.append(TaskOutcome(id=name, state="pending"))
    return tuple(found)


def lines_of(outcomes: Sequence[TaskOutcome]) -> list[str]:
    """A line for each task: its id, its state, what it took, and the beginning of its answer or error."""
    width = min(_ID_CHARS, max((len(each.id) for each in outcomes), default=0))
    return [_line(each, width) for each in outcomes]


def total_line(result: TaskListResult) -> str:
    """How many tasks came to what, how long it took and what it cost."""
    completed = sum(each.state == "completed" for each in result.outcomes)
    cost = "cost unknown" if result.cost_usd is None else f"${result.cost_usd:.4f}"
    return f"{completed} of {len(result.outcomes)} tasks completed, {result.duration_s:.1f} s, {cost}"


def as_json(list_id: str, state: str, outcomes: Sequence[TaskOutcome]) -> str:
    """A list and its tasks as a JSON object, with whole answers."""
    tasks = [{name: getattr(each, name) for name in each.__slots__ if name != "limit"} for each in outcomes]
    form = msgspec.json.encode({"id": list_id, "state": state, "tasks": tasks})
    return msgspec.json.format(form, indent=2).decode()


def _line(outcome: TaskOutcome, width: int) -> str:
    took = ""
    if outcome.run_id and outcome.state != "running":
        cost = "?" if outcome.cost_usd is None else f"${outcome.cost_usd:.4f}"
        took = f"{outcome.duration_s:7.1f} s  {cost:>9}  run {outcome.run_id[:8]}  "
    said = outcome.error if outcome.state != "completed" else outcome.response
    when = " (earlier)" if outcome.is_earlier else ""
    return f"{outcome.id:<{width}}  {outcome.state + when:<9}  {took}{one_line(said or '', _ANSWER_CHARS)}".rstrip()
