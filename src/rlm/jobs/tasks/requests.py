"""Makes the request for a run of a task: its settings, its data, and the run that it goes on with."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.budget import Budget, estimate_tokens
from rlm.core.exceptions import ConfigError, RLMError
from rlm.jobs.tasks.data import data_of
from rlm.jobs.tasks.executors import program_of
from rlm.jobs.tasks.problems import SHARED_CAPS, ListFault
from rlm.jobs.tasks.reading import refused
from rlm.runtime.models import RunModels
from rlm.runtime.request import Request
from rlm.runtime.resume import resume_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.jobs.tasks.planning import ListPlan
    from rlm.jobs.tasks.values import ListedTask, TaskOutcome
    from rlm.runtime.models import BackendPool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAttempt:
    """One attempt at a task, as it begins."""

    task: ListedTask
    run_id: str
    before: Sequence[tuple[TaskOutcome, Path]] = ()
    """The tasks whose answers it gets, with the folders of their artifacts."""
    cut_off: Path | None = None
    """The record of the run that it goes on with."""
    left_s: float | None = None
    """What is left of the time of the list, in seconds."""
    refused: str = ""
    """Why the answer of the attempt before was not valid."""

    @property
    def prompt(self) -> str:
        """What the run is asked."""
        if not self.refused:
            return self.task.prompt
        return f"{self.task.prompt}\n\nAn earlier attempt at this was not accepted: {self.refused}"


def config_of(plan: ListPlan, task: ListedTask) -> Config:
    """The settings of the runs of a task."""
    base, given = plan.config, plan.listed.tasks
    caps = msgspec.structs.asdict(base.budget)
    caps |= {name: cap for name, cap in given.budget.items() if name not in SHARED_CAPS}
    budget = msgspec.convert(caps | task.budget, Budget)
    changes: dict[str, Any] = {"budget": budget, "session": task.session}
    if model := task.model or given.model:
        changes |= {"model": model, "sub_model": base.sub_model if model == base.model else None}
    return msgspec.structs.replace(base, **changes)


def request_of(plan: ListPlan, attempt: TaskAttempt) -> tuple[Request, str | None]:
    """The request for a run of a task, and why it doesn't go on with the one that was cut off, if it was to and can't.
    Blocks while it reads files.

    Raises:
        ConfigError: its data can't be read.
    """
    task, config = attempt.task, config_of(plan, attempt.task)
    if attempt.left_s is not None:
        own_s = config.budget.timeout_s
        timeout_s = attempt.left_s if own_s is None else min(own_s, attempt.left_s)
        config = msgspec.structs.replace(config, budget=msgspec.structs.replace(config.budget, timeout_s=timeout_s))
    data, why_not = data_of(task, plan.listed.folder, attempt.before), None
    if attempt.cut_off is not None:
        try:
            return _resumed(attempt, config, data), None
        except ConfigError as error:
            why_not = str(error).partition("\n")[0]
    request = Request(
        prompt=attempt.prompt, config=config, context=data, output_type=task.output_type, run_id=attempt.run_id
    )
    return request, why_not


def _resumed(attempt: TaskAttempt, config: Config, data: Any) -> Request:
    assert attempt.cut_off is not None
    caps = {name: "none" if cap is None else cap for name, cap in msgspec.structs.asdict(config.budget).items()}
    caps = {name: cap for name, cap in caps.items() if not (name in _NEVER_NONE and cap == "none")}
    how: Mapping[str, Any] = {"context": data, "output_type": attempt.task.output_type, "overrides": caps}
    return replace(resume_request(attempt.cut_off, config, **how), run_id=attempt.run_id)


_NEVER_NONE = frozenset({"max_depth", "max_turns", "max_concurrency", "token_budget_counts"})


def check_models(plan: ListPlan, pool: BackendPool) -> None:
    """Check that the model of every task that is to be done is there, and has room for its prompt.

    Raises:
        ConfigError: one is not, or has not; names every fault.
    """
    found: list[str] = []
    left = plan.selected - plan.done.keys()
    for number, task in enumerate(plan.listed.tasks.tasks, 1):
        if task.id not in left:
            continue
        try:
            if task.is_program:
                program_of(task, plan.config, os.environ)
                if not task.validation:
                    continue
            window = RunModels.choose(config_of(plan, task), pool).main.traits.context_window_tokens
            tokens = estimate_tokens(task.prompt)
            if window is not None and tokens > window:
                raise ConfigError(
                    f"its prompt has about {tokens:,} tokens and the model takes {window:,}: "
                    "give the data as context or files, which may be of any size"
                )
        except RLMError as error:
            found.append(str(ListFault(message=str(error), number=number, id=task.id)))
    if found:
        raise refused(found)
