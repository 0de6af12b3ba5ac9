"""Answers a question about files of code, here or in a worker: reads each file, parses it, and collects rows.

Files are opened below the workspace's folders, by descriptors; a worker gets only their paths.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.paths import Confined, ConfinedPath, open_file
from rlm.helpers.facts.code_file import CodeFile
from rlm.helpers.facts.parsing import MAX_PARSED_BYTES, TOO_DEEP, NotParsed, Unparsed, no_collections
from rlm.helpers.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The question that is asked about each file."""

    function: str
    """`module:function` in this package: takes a `CodeFile` and `about`, and returns rows, which are Structs."""
    about: dict[str, Any] = {}
    named: bool = True
    """Whether each row gets the name of its file."""


class FoundRows(msgspec.Struct, kw_only=True):
    """The answer of a batch of files."""

    rows: list[dict[str, Any]] = []
    total: int = 0
    """The number of all rows, though fewer may be given."""
    unparsed: list[Unparsed] = []

    def add(self, file: str | None, rows: Sequence[msgspec.Struct], most: int) -> None:
        """Add the rows of one file, as long as there are at most `most`."""
        plain = [msgspec.to_builtins(row) for row in rows[: max(0, most - len(self.rows))]]
        self.rows += plain if file is None else [{"file": file, **row} for row in plain]
        self.total += len(rows)


def answer_here(work: Workspace, places: Sequence[ConfinedPath], question: Question, most: int) -> FoundRows:
    """The answer of these files, with at most `most` rows."""
    answer = FoundRows()
    module, _, name = question.function.partition(":")
    function = getattr(import_module(module), name)
    with no_collections():
        for place in places:
            file = work.name(place.path)
            try:
                code = CodeFile(place.parts[-1], content_of(work, place))
                answer.add(file if question.named else None, function(code, **question.about), most)
                if code.broken is not None:
                    answer.unparsed.append(code.broken.of(file))
            except NotParsed as error:
                answer.unparsed.append(error.of(file))
            except (RecursionError, MemoryError):
                answer.unparsed.append(TOO_DEEP.of(file))
    return answer


def answer_in_worker(roots: list[str], question: dict[str, Any], most: int, batch: list[list[str]]) -> dict[str, Any]:
    """Call `answer_here` in a worker; takes each file as its root and its parts."""
    work = Workspace(confined=Confined(roots))
    places = [ConfinedPath(root=Path(root), parts=tuple(parts)) for root, *parts in batch]
    answer = answer_here(work, places, msgspec.convert(question, Question), most)
    found: dict[str, Any] = msgspec.to_builtins(answer)
    return found


def content_of(work: Workspace, place: ConfinedPath) -> bytes:
    """The bytes of a file that is to be parsed.

    Raises:
        NotParsed: the file can't be read, or is too large to be parsed.
    """
    try:
        folder = work.confined.descend(place)
        try:
            fd = open_file(place.parts[-1], folder)
        finally:
            os.close(folder)
        with os.fdopen(fd, "rb") as file:
            content = file.read(MAX_PARSED_BYTES + 1)
    except FileNotFoundError as error:
        raise NotParsed("it vanished") from error
    except OSError as error:
        raise NotParsed(f"it cannot be read: {error.strerror}") from error
    if len(content) > MAX_PARSED_BYTES:
        raise NotParsed(f"larger than {MAX_PARSED_BYTES:,} bytes, the most that is parsed")
    return content
