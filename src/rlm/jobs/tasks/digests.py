"""By what a task is told from itself with another prompt, other data or another model."""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.jobs.tasks.values import GivenList, ListedTask


def digest_of(listed: GivenList, task: ListedTask) -> str:
    """A digest of what a task is asked: another one where its prompt, data, model or the like have changed. Its caps
    are not in it, for a higher one is no other task."""
    asked = {
        "prompt": task.prompt,
        "needs": listed.tasks.needed_by(task),
        "context": task.context,
        "files": [_facts(path, listed.folder) for path in _files(task, listed.folder)],
        "output_type": task.output_type,
        "model": task.model or listed.tasks.model,
        "session": task.session,
        "executor": (task.executor, task.workspace),
        "validation": (task.validation, task.validation_model),
    }
    form = msgspec.json.encode(asked, enc_hook=repr, order="deterministic")
    return hashlib.sha256(form).hexdigest()[:16]


def _files(task: ListedTask, folder: Path) -> Iterator[Path]:
    for name in task.files:
        path = folder / Path(name).expanduser()
        yield from (path,) if path.exists() else sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207


def _facts(path: Path, folder: Path) -> list[Any]:
    """What tells whether a file, or anything in a folder, was changed."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        (str(each.relative_to(folder) if each.is_relative_to(folder) else each), about.st_size, about.st_mtime_ns)
        for each in inside
        for about in (each.stat(),)
        if each.is_file()
    ]
