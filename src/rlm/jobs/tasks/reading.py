"""Reads a task list from a TOML or JSON file, and checks it whole before anything of it runs: every fault is named at
once, each with its place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import fields

from rlm.core.config.files import read_config_file
from rlm.core.exceptions import ConfigError
from rlm.jobs.tasks.problems import problems_of
from rlm.jobs.tasks.trusting import require_trust_in_tasks
from rlm.jobs.tasks.values import GivenList, ListedTask, TaskList

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rlm.core.config.files import ConfigFile

_HEADER = re.compile(r"\s*\[\[\s*tasks\s*\]\]")
_SHOWN = 30
"""So many faults are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where the tasks of a file stand in it."""

    path: Path
    lines: tuple[int, ...]
    """The line of each task, from 1; empty where that isn't known."""

    @classmethod
    def of(cls, file: ConfigFile) -> _Places:
        tables = file.table.get("tasks")
        text = file.content.decode("utf-8", "replace")
        lines = tuple(number for number, line in enumerate(text.splitlines(), 1) if _HEADER.match(line))
        is_known = isinstance(tables, list) and len(tables) == len(lines)
        return cls(path=file.path, lines=lines if is_known else ())

    def of_task(self, index: int | None) -> str:
        """The place of a task, or of the list as a whole."""
        if index is None or not self.lines:
            return str(self.path)
        return f"{self.path}:{self.lines[index]}"


def read_task_list(path: Path) -> GivenList:
    """Read and check a file that is to be done.

    Raises:
        UntrustedConfigError: it asks for what only a trusted file may.
        ConfigError: as `check_task_file`.
    """
    file = read_config_file(path)
    listed = check_task_file(file)
    require_trust_in_tasks(file, os.environ)
    return listed


def check_task_file(file: ConfigFile) -> GivenList:
    """Check a file.

    Raises:
        ConfigError: it can't be done as it is; names every fault, each with its place.
    """
    path = file.path
    places = _Places.of(file)
    found: list[str] = []
    given = _from_table(file.table, found)
    if given is None or found:
        raise refused(_at(places, found))
    listed = GivenList(tasks=given, folder=path.absolute().parent, source=str(path.absolute()))
    check_list(listed, places)
    return listed


def task_list_of(table: Mapping[str, Any]) -> TaskList:
    """The task list in a JSON object, as it comes over a wire; it is not checked further.

    Raises:
        ConfigError: a field has another name or kind than it should; names every one.
    """
    found: list[str] = []
    given = _from_table(table, found)
    if given is None or found:
        raise refused(found)
    return given


def check_list(listed: GivenList, places: _Places | None = None) -> None:
    """Check that a list can be done as it is.

    Raises:
        ConfigError: it can't; names every fault.
    """
    if found := [str(problem) for problem in problems_of(listed)]:
        raise refused(found if places is None else _at(places, found))


def refused(found: Iterable[str]) -> ConfigError:
    """The error that names these faults."""
    all_found = list(found)
    left = len(all_found) - _SHOWN
    more = [f"and {left} more"] if left > 0 else []
    return ConfigError("\n".join(["the task list can't be run as it is", *all_found[:_SHOWN], *more]))


def _at(places: _Places, found: list[str]) -> list[str]:
    """The faults with the places of their tasks; each names its task by number, as `problems` does."""
    placed = []
    for fault in found:
        number = re.match(r"task (\d+)", fault)
        placed.append(f"{places.of_task(int(number[1]) - 1 if number else None)}: {fault}")
    return placed


def _from_table(table: Mapping[str, Any], found: list[str]) -> TaskList | None:
    """The list in a table; what is wrong about its form is added to `found`."""
    rows = table.get("tasks")
    if not isinstance(rows, list) or not rows:
        found.append("there are no tasks: write each under [[tasks]]")
        return None
    plain = {name: value for name, value in table.items() if name != "tasks"}
    given = _converted(TaskList, plain, "", found)
    tasks = [_task_fields(number, row, found) for number, row in enumerate(rows, 1)]
    return None if found else TaskList(**given, tasks=tuple(ListedTask(**each) for each in tasks))


def _task_fields(number: int, row: Any, found: list[str]) -> dict[str, Any]:
    if isinstance(row, dict):
        return _converted(ListedTask, row, f"task {number}: ", found)
    found.append(f"task {number}: expected a table with an id and a prompt, not {type(row).__name__}")
    return {}


def _converted(kind: type[msgspec.Struct], row: Mapping[str, Any], place: str, found: list[str]) -> dict[str, Any]:
    """The fields of a row, each as its type has it."""
    known = {field.name: field for field in fields(kind) if not (kind is TaskList and field.name == "tasks")}
    made: dict[str, Any] = {}
    for name, value in row.items():
        if name not in known:
            meant = "".join(f"; did you mean {near}?" for near in get_close_matches(name, known, n=1))
            found.append(f"{place}there is no field {name!r}{meant}")
            continue
        try:
            made[name] = msgspec.convert(value, known[name].type)
        except msgspec.ValidationError as error:
            found.append(f"{place}{name}: {error}")
    found += [f"{place}{name} is missing" for name, field in known.items() if field.required and name not in row]
    return made
