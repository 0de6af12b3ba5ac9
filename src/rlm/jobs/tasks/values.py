"""A task list as a value: what is to be done, in which order, and within which caps. Nothing is checked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TaskState: TypeAlias = Literal["pending", "running", "completed", "failed", "skipped", "blocked", "cancelled"]

GIVEN = "given"
"""The key of a task's own data in a context that has the outputs of other tasks too."""
CONCURRENCY = 4
RLM, CLAUDE = "rlm", "claude"
"""Executors by name."""


class ListedTask(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One task of a list; users know it as `rlm.tasks.Task`."""

    id: str
    """By which other tasks and records name it: letters, digits, `-`, `_` and `.`."""
    prompt: str
    needs: tuple[str, ...] = ()
    """The tasks that have to complete before it; what they answered is in its `context`, by their ids."""
    context: Json = None
    """Its own data: a text, a list or an object."""
    files: tuple[str, ...] = ()
    """Files, folders and patterns with its own data, relative to the file of the list."""
    output_type: Any = None
    """What the answer must fit: a JSON schema or, in Python, a type."""
    model: str | None = None
    budget: dict[str, Json] = {}
    """Caps of its own, by their names."""
    session: str | None = None
    """The session whose variables it begins with and leaves behind."""
    validation: str = ""
    """A question about the answer, which a fresh model decides: unless it says yes, the task has failed."""
    validation_model: str | None = None
    """The model that decides; None: the task's own, without its conversation."""
    executor: Literal["rlm", "claude"] | tuple[str, ...] = "rlm"
    """What does it: rlm; the installed `claude` as an agent with tools; or a command, its program and arguments."""
    workspace: str = "."
    """The folder in which a program works, relative to the file of the list."""
    environment: tuple[str, ...] = ()
    """Variables that a program gets besides PATH, HOME and the locale."""
    retries: int = 0
    """How often it may be tried again where it fails, or its answer isn't valid; it is told why."""

    def __post_init__(self) -> None:
        for name in ("needs", "files", "environment"):  # perhaps a list, as Python writes it
            msgspec.structs.force_setattr(self, name, tuple(getattr(self, name)))
        if not isinstance(self.executor, str):
            msgspec.structs.force_setattr(self, "executor", tuple(self.executor))

    @property
    def is_program(self) -> bool:
        """Whether a program does it, instead of a run."""
        return self.executor != RLM


class TaskList(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Tasks that belong together."""

    tasks: tuple[ListedTask, ...]
    name: str = ""
    sequential: bool = False
    """One after the other, in their order, each with the answers of those before it; else side by side as soon as what
    they need is there."""
    concurrency: int = CONCURRENCY
    """How many may be in progress at one time."""
    stop_on_error: bool = False
    """Begin nothing more once a task has failed."""
    model: str | None = None
    """The model of tasks that name none."""
    budget: dict[str, Json] = {}
    """Caps over all runs of the list together, by their names: token_budget, cost_budget_usd, timeout_s."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "tasks", tuple(self.tasks))  # perhaps a list, as Python writes it

    def needed_by(self, task: ListedTask) -> tuple[str, ...]:
        """The ids of the tasks whose answers a task gets, where there are any: in a sequential list all before it."""
        if not self.sequential:
            return task.needs
        before = [each.id for each in self.tasks[: self.tasks.index(task)]]
        return tuple(dict.fromkeys((*before, *task.needs)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenList:
    """A task list, and where it comes from."""

    tasks: TaskList
    folder: Path
    """What the paths of its files are relative to."""
    source: str = ""
    """The path of its file; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """What became of a task."""

    id: str
    state: TaskState
    response: str = ""
    """The answer as text."""
    value: Json = None
    """The answer as a JSON value, where it is more than text."""
    run_id: str = ""
    """Its last run; empty where there was none."""
    attempts: int = 0
    files: tuple[str, ...] = ()
    """The artifacts that its run saved."""
    created: tuple[str, ...] = ()
    """Files of its workspace that were not there before it."""
    modified: tuple[str, ...] = ()
    """Files of its workspace that were written while it ran."""
    error: str | None = None
    """Why it did not complete."""
    exit_code: int | None = None
    """How its program ended; None where a run did it."""
    limit: bool = False
    """Whether a cap of the budget ended it."""
    is_valid: bool | None = None
    """Whether its answer was found valid; None where nobody was asked."""
    verdict: str = ""
    """Why it was found valid, or not."""
    validation_run: str = ""
    """The run that judged."""
    tokens: int = 0
    cost_usd: float | None = 0.0
    """None where a price is unknown."""
    duration_s: float = 0.0
    is_earlier: bool = False
    """It completed when the list ran before, and was not repeated."""

    def __str__(self) -> str:
        return self.response


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskListResult:
    """What became of a task list."""

    id: str
    outcomes: tuple[TaskOutcome, ...]
    """One for each task, in the order of the list."""
    cost_usd: float | None
    """What its runs cost, those of earlier parts of it included; None where a price is unknown."""
    duration_s: float
    record: Path
    is_cancelled: bool = False

    @property
    def success(self) -> bool:
        """Whether every task that was selected completed."""
        return not self.is_cancelled and all(each.state in ("completed", "skipped") for each in self.outcomes)

    def __getitem__(self, task: str | int) -> TaskOutcome:
        """A task by its id, or by its place in the list."""
        if isinstance(task, int):
            return self.outcomes[task]
        return next(each for each in self.outcomes if each.id == task)

    def __iter__(self) -> Iterator[TaskOutcome]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)
