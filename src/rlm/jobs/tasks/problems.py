"""What keeps a task list from being done, found without a model and without running anything."""

from __future__ import annotations

import glob
import re
from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rlm.core.budget import MIN_OUTPUT_TOKENS, Budget, estimate_tokens
from rlm.jobs.tasks.values import GIVEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.types import Json
    from rlm.jobs.tasks.values import GivenList, ListedTask

MOST_TASKS = 10_000
MOST_RETRIES = 20
SHARED_CAPS = ("token_budget", "cost_budget_usd", "timeout_s")
"""The caps that a whole list can have."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFault:
    """Something that keeps a list from being done."""

    message: str
    number: int | None = None
    """The task it is about, from 1; None: the list."""
    id: str = ""

    def __str__(self) -> str:
        if self.number is None:
            return self.message
        return f"task {self.number} ({self.id!r}): {self.message}"


def problems_of(listed: GivenList) -> list[ListFault]:
    """Everything that is wrong with a list."""
    tasks = listed.tasks.tasks
    found = list(_of_the_list(listed))
    for number, task in enumerate(tasks, 1):
        messages = (*_of_a_task(task), *_of_needs(listed, task), *_of_files(task, listed.folder))
        found += [ListFault(message=message, number=number, id=task.id) for message in messages]
        found += [
            ListFault(message=message, number=number, id=task.id) for message in _of_budget(task, listed.tasks.budget)
        ]
    return found


def _of_the_list(listed: GivenList) -> Iterator[ListFault]:
    given = listed.tasks
    if not given.tasks:
        yield ListFault(message="there are no tasks")
    if len(given.tasks) > MOST_TASKS:
        yield ListFault(message=f"a list has at most {MOST_TASKS:,} tasks, not {len(given.tasks):,}: see rlm batch")
    if given.concurrency < 1:
        yield ListFault(message=f"concurrency: at least 1, not {given.concurrency}")
    for task_id, count in Counter(task.id for task in given.tasks).items():
        if count > 1:
            yield ListFault(message=f"{count} tasks have the id {task_id!r}")
    for message in _of_caps(given.budget):
        yield ListFault(message=message)
    for name in given.budget:
        if name not in SHARED_CAPS and name in Budget.__struct_fields__:
            yield ListFault(message=f"budget: {name} is a cap of one run; a list has {', '.join(SHARED_CAPS)}")
    if circle := _circle(given.tasks):
        yield ListFault(message=f"tasks need each other in a circle: {' -> '.join(circle)}")


def _of_a_task(task: ListedTask) -> Iterator[str]:
    if not _ID.fullmatch(task.id):
        yield "id: 1 to 64 letters, digits, '-', '_' and '.', the first a letter or a digit"
    if task.id == GIVEN:
        yield f"id: {GIVEN!r} is the name of a task's own data in its context"
    if not task.prompt.strip():
        yield "prompt: it is empty"
    if task.context is not None and task.files:
        yield "it has its data in context or in files, not in both"
    if task.validation_model is not None and not task.validation.strip():
        yield "validation_model: there is nothing to validate by; write the question as validation"
    if task.executor == ():
        yield "executor: an empty command; write the program and its arguments"
    if task.is_program and (task.output_type is not None or task.session is not None):
        yield "output_type and session are for runs of rlm itself: its executor is a program"
    if not task.is_program and (task.environment or task.workspace != "."):
        yield "workspace and environment are for executors that are programs"
    if not 0 <= task.retries <= MOST_RETRIES:
        yield f"retries: 0 to {MOST_RETRIES}, not {task.retries}"


def _of_needs(listed: GivenList, task: ListedTask) -> Iterator[str]:
    known = [each.id for each in listed.tasks.tasks]
    for name in task.needs:
        if name not in known:
            meant = "".join(f"; did you mean {near}?" for near in get_close_matches(name, known, n=1))
            yield f"needs: there is no task {name!r}{meant}"
        elif listed.tasks.sequential and name != task.id and known.index(name) > known.index(task.id):
            yield f"needs: {name!r} comes after it, and the list is sequential"


def _of_files(task: ListedTask, folder: Path) -> Iterator[str]:
    if task.is_program and not (folder / Path(task.workspace).expanduser()).is_dir():
        yield f"workspace: there is no folder {task.workspace!r} in {folder}"
    for name in task.files:
        path = folder / Path(name).expanduser()
        is_pattern = any(char in name for char in "*?[")
        if not (path.exists() or (is_pattern and any(glob.iglob(str(path), recursive=True)))):  # noqa: PTH207
            yield f"files: there is no {name!r} in {folder}"


def _of_budget(task: ListedTask, shared: Mapping[str, Json]) -> Iterator[str]:
    messages = list(_of_caps(task.budget))
    yield from messages
    if messages:
        return
    caps = {**shared, **task.budget}
    tokens, least = caps.get("token_budget"), estimate_tokens(task.prompt) + MIN_OUTPUT_TOKENS
    if isinstance(tokens, int) and tokens < least:
        yield f"budget: its prompt and the shortest answer take {least:,} tokens, and token_budget is {tokens:,}"
    for name in SHARED_CAPS:
        own, most = task.budget.get(name), shared.get(name)
        if isinstance(own, int | float) and isinstance(most, int | float) and own > most:
            yield f"budget: {name} of {own:,} is more than the {most:,} of the whole list"


def _of_caps(caps: Mapping[str, Json]) -> Iterator[str]:
    for name, value in caps.items():
        if name not in Budget.__struct_fields__:
            meant = "".join(
                f"; did you mean {near}?" for near in get_close_matches(name, Budget.__struct_fields__, n=1)
            )
            yield f"budget: there is no cap {name!r}{meant}"
            continue
        try:
            msgspec.convert({name: value}, Budget)
        except msgspec.ValidationError as error:
            yield f"budget: {name}: {error}"


def _circle(tasks: tuple[ListedTask, ...]) -> list[str]:
    """Tasks that need each other in a circle, the first once more at the end; empty where there are none."""
    needs = {task.id: task.needs for task in tasks}
    done: set[str] = set()
    for task in tasks:
        path: list[str] = []
        stack = [(task.id, iter(needs[task.id]))]
        path.append(task.id)
        while stack and task.id not in done:
            name, following = stack[-1]
            each = next(following, None)
            if each is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif each in path:
                return [*path[path.index(each) :], each]
            elif each in needs and each not in done:
                stack.append((each, iter(needs[each])))
                path.append(each)
    return []
