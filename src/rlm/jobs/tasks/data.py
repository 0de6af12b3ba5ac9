"""What a task works on: its own data, and what the tasks before it answered and saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError
from rlm.jobs.tasks.values import GIVEN
from rlm.runtime.inputs import prepare
from rlm.trajectory.artifacts import is_artifact_name
from rlm.trajectory.reader import open_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.contexts.context import Context, Part
    from rlm.core.types import Json
    from rlm.jobs.tasks.values import ListedTask, TaskOutcome

ARTIFACT_CHARS = 1 << 24


def data_of(task: ListedTask, folder: Path, before: Iterable[tuple[TaskOutcome, Path]]) -> Any:
    """The context of a task; `before` are the tasks whose answers it gets, with the folders of their artifacts.

    Alone, it is the task's own data. With answers it is an object: each answer by the task's id, each text that a task
    saved as an artifact by `id/name`, and the own data as `given`. Blocks while it reads files.

    Raises:
        ConfigError: a file can't be read.
    """
    own = [folder / Path(name).expanduser() for name in task.files]
    is_read = bool(task.files) and task.is_program
    answers = dict[str, Any]()
    for outcome, artifacts in before:
        answers[outcome.id] = outcome.response if outcome.value is None else outcome.value
        answers.update((f"{outcome.id}/{name}", text) for name, text in saved_texts(artifacts, outcome.files))
    if not answers and is_read:
        return _texts(prepare(own if len(own) > 1 else own[0]))
    if not answers:
        return (own if len(own) > 1 else own[0]) if own else task.context
    return data_with(answers, (own if len(own) > 1 else own[0]) if own else task.context)


def data_with(answers: dict[str, Any], own: Any) -> dict[str, Any]:
    """The data of a task that has the answers of others, and perhaps its own: a value, or paths that are read.

    Raises:
        ConfigError: a file can't be read.
    """
    if own is None:
        return answers
    is_paths = isinstance(own, Path) or (isinstance(own, list) and own and all(isinstance(each, Path) for each in own))
    return {**answers, GIVEN: _texts(prepare(own)) if is_paths else own}


def artifacts_of(folder: Path) -> tuple[str, ...]:
    """The names of the artifacts that a run saved."""
    if folder.is_symlink() or not folder.is_dir():
        return ()
    return tuple(sorted(each.name for each in folder.iterdir() if is_artifact_name(each.name)))


def saved_texts(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those artifacts that are text."""
    for name in names:
        if not is_artifact_name(name):
            continue
        try:
            with open_record(folder / name) as file:
                content = file.read(ARTIFACT_CHARS + 1)
            if len(content) <= ARTIFACT_CHARS:
                yield name, content.decode()
        except (ConfigError, UnicodeDecodeError):
            continue


def _texts(context: Context) -> Json:
    """The texts of files: one alone as it is, several by their names."""
    if context.kind != "files":
        return "".join(_text(context, part) for part in context.parts)
    return {part.name: _text(context, part) for part in context.parts}


def _text(context: Context, part: Part) -> str:
    assert context.fd is not None
    return os.pread(context.fd, part.size_bytes, part.start).decode("utf-8", "surrogatepass")
