"""What the record of a task list says: which of its tasks are done and what they answered, which were cut off. A list
that goes on with an earlier one has the past of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlm.core.events import TaskEnd, TasksEnd, TasksStart, TaskStart
from rlm.core.exceptions import ConfigError
from rlm.trajectory.fold import LiveRun
from rlm.trajectory.reader import Trajectory, ends_run, is_run_id

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.events import CompletionEnd

ENDING = ".tasks"
"""What the name of a list's record has after the id, before its suffix."""
_GLOB = "[0-9a-f]" * 32 + ENDING + ".jsonl"


@dataclass(slots=True, kw_only=True)
class ListPast:
    """What became of a list so far."""

    id: str
    record: Path
    start: TasksStart
    started_at: float
    ended: dict[str, TaskEnd] = field(default_factory=dict)
    """The end of each task that came to one, by its id."""
    begun: dict[str, TaskStart] = field(default_factory=dict)
    """The last attempt of each task that has not ended."""
    spent: tuple[TaskEnd, ...] = ()
    """Every end of a task so far: one that was done again is in it twice, for it was paid for twice."""
    ended_here: set[str] = field(default_factory=set)
    """Those that ended in this list itself, not in one before it."""
    end: TasksEnd | None = None
    """None: it was cut off, or is in progress."""

    @property
    def state(self) -> str:
        """How it stands as a whole: running, completed, failed, cancelled or cut off."""
        if self.end is not None:
            return self.end.state
        return "running" if self.is_running else "cut off"

    @property
    def is_running(self) -> bool:
        """Whether a process is working on it."""
        return Trajectory(self.record).is_running()

    def _take(self, body: Any) -> None:
        match body:
            case TaskStart():
                self.begun[body.task] = body
                self.ended.pop(body.task, None)
            case TaskEnd():
                start = self.begun.pop(body.task, None)
                if start is not None and start.resumes:  # what it counts has that of the run that it resumed
                    self.spent = tuple(end for end in self.spent if end.run != start.resumes)
                self.ended[body.task] = body
                self.spent = (*self.spent, body)
                self.ended_here.add(body.task)
            case TasksEnd():
                self.end = body


def past_of(record: Path) -> ListPast:
    """The past of a list, with that of those before it.

    Raises:
        ConfigError: there is no such record, or it is none of a list.
    """
    run = Trajectory(record)
    found: ListPast | None = None
    for event in run:
        body = run.whole(event).body
        if found is None:
            if not isinstance(body, TasksStart):
                break
            list_id = record.name.partition(".")[0]
            found = ListPast(id=list_id, record=record, start=body, started_at=event.at)
            if is_run_id(body.resumed_from or ""):
                before = past_of(record.with_name(f"{body.resumed_from}{ENDING}.jsonl"))
                found.ended, found.begun, found.spent = before.ended, before.begun, before.spent
        found._take(body)
    if found is None:
        raise ConfigError(f"{record} is not the record of a task list")
    return found


def records_of(record: Path) -> list[tuple[str, Path]]:
    """The record of a list, and those of all runs that it and the lists before it made, each with what it is of.

    Raises:
        ConfigError: it is none of a list.
    """
    past = past_of(record)
    found = {record: f"task list {past.id[:12]}"}
    lists = [record]
    while (before := past_of(lists[-1]).start.resumed_from) and is_run_id(before):
        lists.append(record.with_name(f"{before}{ENDING}.jsonl"))
        found[lists[-1]] = f"task list {before[:12]}"
    for each in lists:
        for body in (event.body for event in Trajectory(each)):
            runs = [body.run] if isinstance(body, TaskStart) else []
            runs += [body.validation_run] if isinstance(body, TaskEnd) else []
            for run in filter(is_run_id, runs):
                found.setdefault(record.with_name(f"{run}.jsonl"), f"task {body.task}, run {run[:12]}")
    return [(name, path) for path, name in found.items()]


def list_records(folder: Path) -> list[Path]:
    """The records of lists in a folder, the last written first."""
    return sorted(folder.glob(_GLOB), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def find_list(folder: Path, name: str) -> Path:
    """The record of the list that `name` means: `last`, an id, or the beginning of one.

    Raises:
        ConfigError: it fits none, or several.
    """
    records = list_records(folder)
    found = records[:1] if name == "last" else [path for path in records if path.name.startswith(name.lower())]
    if len(found) != 1:
        what = (
            f"{len(found)} task lists begin with {name!r}" if found else f"there is no task list {name!r} in {folder}"
        )
        raise ConfigError(f"{what}\nrlm tasks status shows the last")
    return found[0]


def last_of(folder: Path, source: str) -> Path | None:
    """The record of the last list that came from a file; None where there is none."""
    for record in list_records(folder):
        first = next(iter(Trajectory(record)), None)
        if first is not None and isinstance(first.body, TasksStart) and first.body.source == source:
            return record
    return None


def end_of_run(record: Path) -> CompletionEnd | None:
    """How a run ended, as its record has it; None where it was cut off, or has no record."""
    if not record.exists():
        return None
    run = Trajectory(record)
    for event in run:
        if ends_run(event):
            body: CompletionEnd = run.whole(event).body
            return body
    return None


def spent_by_run(record: Path) -> tuple[int, float | None]:
    """What a run used so far: tokens, and dollars, None where a price is unknown."""
    if not record.exists():
        return 0, 0.0
    live = LiveRun()
    for event in Trajectory(record):
        live.add(event)
    return live.state.tokens, live.state.cost_usd if live.state.model_calls else 0.0
