"""Events of a task list: its tasks, and what became of each. They stand in a record of the list's own, beside those of
its runs."""

from __future__ import annotations

from typing import ClassVar

from rlm.core.events.body import Body
from rlm.core.types import Json  # noqa: TC001 (msgspec reads them at run time)


class TasksStart(Body, frozen=True, kw_only=True):
    """A task list begins."""

    TYPE: ClassVar[str] = "tasks.start"

    version: int
    """The version of the event format."""
    rlm_version: str
    name: str
    source: str = ""
    """The path of its file; empty where it came from Python or over a wire."""
    tasks: dict[str, str] = {}
    """The digest of each task, by its id, in the order of the list; the same as long as the task is the same."""
    selected: list[str] = []
    """The tasks that are to run."""
    sequential: bool = False
    budget: dict[str, Json] = {}
    """The caps over all of its runs together, by their names."""
    resumed_from: str | None = None
    """The id of the list that this one goes on with: what completed there is not repeated."""


class TaskStart(Body, frozen=True, kw_only=True):
    """An attempt at a task begins; its span is the task's."""

    TYPE: ClassVar[str] = "task.start"

    task: str
    """The id of the task in its list."""
    attempt: int
    """From 1."""
    run: str
    """The id of the run that does it, whose record lies beside this one; empty where a program does."""
    resumes: str | None = None
    """The run that was cut off, and that this one resumes."""


class TaskOutput(Body, frozen=True):
    """A piece of what the program of a task writes, masked; the beginning of it, up to a cap."""

    TYPE: ClassVar[str] = "task.output"

    text: str


class TaskEnd(Body, frozen=True, kw_only=True):
    """A task ends, or will not begin."""

    TYPE: ClassVar[str] = "task.end"

    task: str
    state: str
    """completed, failed, skipped (not selected, or the list was stopped), blocked (a task that it needs did not
    complete) or cancelled."""
    digest: str
    """The digest of the task as it was done."""
    run: str = ""
    """The id of its last run; empty where there was none."""
    attempts: int = 0
    response: str = ""
    """The answer as text."""
    value: Json = None
    """The answer as a JSON value, where it is more than text."""
    files: list[str] = []
    """The names of the artifacts that its run saved."""
    created: list[str] = []
    """Files of its workspace that were not there before it."""
    modified: list[str] = []
    """Files of its workspace that were written while it ran."""
    error: str | None = None
    """Why it did not complete."""
    exit_code: int | None = None
    """How its program ended; null where a run did it."""
    is_valid: bool | None = None
    """Whether its answer was found valid; null where nobody was asked."""
    verdict: str = ""
    """Why it was found valid, or not."""
    validation_run: str = ""
    """The id of the run that judged."""
    tokens: int = 0
    """Input and output tokens of all its attempts."""
    cost_usd: float | None = 0.0
    """What all its attempts cost; null where a price is unknown."""
    duration_s: float = 0.0


class TasksEnd(Body, frozen=True, kw_only=True):
    """A task list ends."""

    TYPE: ClassVar[str] = "tasks.end"

    state: str
    """completed, failed or cancelled."""
    counts: dict[str, int]
    """How many tasks are in each state."""
    duration_s: float
    cost_usd: float | None = 0.0
