"""What of a task list is to be done: all of it, or what an earlier run of it left, or some of its tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.jobs.tasks.digests import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rlm.core.config import Config
    from rlm.core.events import TaskEnd
    from rlm.jobs.tasks.values import GivenList
    from rlm.trajectory.task_lists import ListPast


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlan:
    """What is to be done of a list."""

    listed: GivenList
    config: Config
    """The settings of its runs, but for what the list and its tasks say themselves."""
    digests: Mapping[str, str]
    selected: frozenset[str]
    """The tasks that are to be done, unless they are done already."""
    done: Mapping[str, TaskEnd] = field(default_factory=dict)
    """The tasks that completed earlier and are as they were."""
    begun: Mapping[str, str] = field(default_factory=dict)
    """The run of each task that was begun earlier and did not complete, by the task's id."""
    spent: tuple[TaskEnd, ...] = ()
    """The ends of all tasks in earlier parts of the list, for what they used counts."""
    cut_off: tuple[str, ...] = ()
    """The runs that were cut off in them, for the same reason."""
    resumed_from: str | None = None
    changed: tuple[str, ...] = ()
    """The tasks that completed earlier, have changed or need one that has, and are to be done again."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before anything runs."""
        if not self.changed:
            return ()
        return (f"changed since they were done, or needing what was: {', '.join(self.changed)}; they are done again",)


def plan_list(
    listed: GivenList, config: Config, past: ListPast | None = None, *, only: Iterable[str] = (), resume: bool = False
) -> ListPlan:
    """The plan of a list; `past` is that of the last one from its file. Without `resume`, it is of use for the answers
    that tasks of `only` need.

    Raises:
        ConfigError: `only` names what isn't there, or needs an answer that isn't; or the list is in progress.
    """
    if resume and past is not None and past.is_running:
        raise ConfigError(f"task list {past.id} is in progress\nrlm ctl shows it; rlm ctl cancel {past.id[:8]} ends it")
    digests = {task.id: digest_of(listed, task) for task in listed.tasks.tasks}
    selected = _selected(listed, tuple(only))
    done, changed = _done(listed, digests, past)
    if not resume:
        done = {name: end for name, end in done.items() if name not in selected}
        changed = ()
    _check_answers(listed, selected, done)
    left = selected - done.keys()
    return ListPlan(
        listed=listed,
        config=config,
        digests=digests,
        selected=selected,
        done=done,
        begun=_begun(past, left, frozenset(changed)) if resume and past is not None else {},
        spent=past.spent if resume and past is not None else (),
        cut_off=tuple(start.run for start in past.begun.values()) if resume and past is not None else (),
        resumed_from=past.id if past is not None and (resume or done) else None,
        changed=tuple(name for name in changed if name in left),
    )


def _selected(listed: GivenList, only: tuple[str, ...]) -> frozenset[str]:
    known = [task.id for task in listed.tasks.tasks]
    for name in only:
        if name not in known:
            meant = "".join(f"\ndid you mean {near}?" for near in get_close_matches(name, known, n=1))
            raise ConfigError(f"--only: there is no task {name!r}; there are: {', '.join(known[:20])}{meant}")
    return frozenset(only or known)


def _done(
    listed: GivenList, digests: Mapping[str, str], past: ListPast | None
) -> tuple[dict[str, TaskEnd], tuple[str, ...]]:
    """The tasks that completed and are as they were, with all that they need; and those that completed and are not."""
    if past is None:
        return {}, ()
    ended = {name: end for name, end in past.ended.items() if end.state == "completed"}
    fresh: set[str] = set()
    is_after_change = False
    for task in _in_order(listed):
        is_same = task in ended and ended[task].digest == digests[task]
        needs = next(each.needs for each in listed.tasks.tasks if each.id == task)
        if not is_same or not fresh.isdisjoint(needs) or (listed.tasks.sequential and is_after_change):
            fresh.add(task)
            is_after_change = True
    done = {name: end for name, end in ended.items() if name in digests and name not in fresh}
    return done, tuple(name for name in digests if name in ended and name in fresh)


def _in_order(listed: GivenList) -> list[str]:
    """The ids of the tasks, each after those that it needs."""
    left = {task.id: set(task.needs) for task in listed.tasks.tasks}
    ordered: list[str] = []
    while left:
        ready = [name for name, needs in left.items() if needs.isdisjoint(left)]
        assert ready  # there are no circles in a list that was checked
        ordered += ready
        for name in ready:
            del left[name]
    return ordered


def _check_answers(listed: GivenList, selected: frozenset[str], done: Mapping[str, TaskEnd]) -> None:
    for task in listed.tasks.tasks:
        missing = [name for name in task.needs if name not in selected and name not in done]
        if task.id in selected and task.id not in done and missing:
            raise ConfigError(
                f"--only: {task.id} needs {', '.join(missing)}, which has no answer on record and isn't selected\n"
                f"add it: --only {','.join([*missing, task.id])}"
            )


def _begun(past: ListPast, left: frozenset[str], changed: frozenset[str]) -> dict[str, str]:
    runs = {name: start.run for name, start in past.begun.items()}
    runs |= {
        name: end.run
        for name, end in past.ended.items()
        if end.state != "completed" and end.run and end.is_valid is None
    }
    return {name: run for name, run in runs.items() if name in left - changed}
