"""The folder that an editor has open, as the context of a run: its files, but for what is hidden or ignored by git."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError
from rlm.files.walk import Walk, rules_above
from rlm.runtime.inputs import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rlm.core.contexts.context import Context


class _Named(io.BytesIO):
    """Bytes with the name of a file."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name = name


def workspace_context(
    folders: Iterable[Path], attached: Mapping[str, bytes], most_bytes: int
) -> tuple[Context, tuple[str, ...]]:
    """The context of a prompt, and what the user should know of it; blocks while it reads.

    A workspace of more than `most_bytes` is left out: code reads it by helpers. Raises:
        ConfigError: what is attached can't be read.
    """
    files: list[Any] = [_Named(name, content) for name, content in attached.items()]
    found, warnings = [], []
    for folder in folders:
        size = size_of(folder, most_bytes)
        if size is None:
            warnings.append(f"{folder} has more than {most_bytes:,} bytes of files: it is not in the context")
        elif size:
            found.append(folder)
    try:
        return _prepared([*found, *files]), tuple(warnings)
    except ConfigError as error:
        if not found:
            raise
        warnings.append(f"the workspace is not in the context: {error}")
        return _prepared([_Named(name, content) for name, content in attached.items()]), tuple(warnings)


def size_of(folder: Path, most_bytes: int) -> int | None:
    """The bytes of the files that a context of this folder has; None where there are more than so many.

    Raises:
        ConfigError: the folder can't be read.
    """
    total = 0
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{folder} can't be read: {error.strerror}") from error
    try:
        for file in Walk(rules=rules_above(folder.resolve())).files(descriptor):
            with suppress(FileNotFoundError):  # it has just gone
                total += os.stat(file.name, dir_fd=file.folder, follow_symlinks=False).st_size
            if total > most_bytes:
                return None
    finally:
        os.close(descriptor)
    return total


def _prepared(sources: list[Any]) -> Context:
    return prepare(sources if len(sources) > 1 else next(iter(sources), None))
