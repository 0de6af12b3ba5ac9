"""Asks one question about every file of code in a workspace, in parallel if there is much to parse.

For one file the answer is a list of rows. For a folder it is a page: rows, the number of all rows, the offset of the
next page, and the files that could not be parsed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from rlm.core.contexts.context import printable
from rlm.helpers.facts.pages import MAX_ROWS, USUAL_ROWS, RowPage, Window
from rlm.helpers.facts.parsing import Unparsed
from rlm.helpers.facts.questions import FoundRows, Question, answer_here, answer_in_worker
from rlm.helpers.facts.unread import Unread
from rlm.processes.parallel import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rlm.core.paths import ConfinedPath
    from rlm.core.types import Json
    from rlm.helpers.workspace import Skipped, Workspace
    from rlm.processes.parallel import Batch

    Rows: TypeAlias = Callable[..., Sequence[msgspec.Struct]]

_BATCH = 100
_BATCH_BYTES = 2 << 20
_ALONE = 40
_ALONE_BYTES = 512 << 10
"""The most bytes of all files that are parsed in this process, which saves starting others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The files that a question is about, and the page that is wanted of the answer."""

    work: Workspace
    path: str
    file_pattern: str
    limit: int | None
    offset: int

    @property
    def is_file(self) -> bool:
        """Whether the path is one file.

        Raises:
            ToolError: the path is refused or missing.
        """
        return self.work.is_file(self.path)

    @property
    def window(self) -> Window:
        """The range of rows that is wanted.

        Raises:
            ToolError: `limit` or `offset` is negative.
        """
        return Window.of(self.limit, self.offset, MAX_ROWS if self.is_file else USUAL_ROWS)

    def places(self, skipped: Skipped) -> list[ConfinedPath]:
        """The files, without symlinks.

        Raises:
            ToolError: the path or the pattern is refused.
        """
        if self.is_file:
            return [self.work.existing(self.path)]
        places: list[ConfinedPath] = []
        for place, _ in self.work.files(self.file_pattern, self.path, skipped=skipped):
            name = self.work.name(place.path)
            if name.isprintable():
                places.append(place)
            else:
                skipped.unreadable.append(printable(name))
        return places


def ask(where: Where, what: str, rows_of: Rows, **about: Json) -> Json:
    """The rows of one file as a list; for a folder, a page with the rows under `what`.

    `rows_of` takes a `CodeFile` and `about`. It must be at the top of a module, so that a worker can find it.

    Raises:
        ToolError: the path is refused, or is a file that can't be parsed or has too many rows.
    """
    question = Question(function=_address(rows_of), about=about, named=not where.is_file)
    return survey(where, what, lambda places: answers(where.work, places, question, where.window.end))


def survey(where: Where, what: str, answered: Callable[[Sequence[ConfinedPath]], Iterator[FoundRows]]) -> Json:
    """Like `ask`, but `answered` gives the rows: in the order of the files, at least up to the window's end.

    Raises:
        ToolError: see `ask`.
    """
    page, unread = RowPage(window=where.window), Unread()
    places = where.places(unread.skipped)
    for answer in answered(places):
        page.add(answer.rows, answer.total)
        unread.unparsed.extend(answer.unparsed)
    if not where.is_file:
        return page.facts(what, len(places)) | unread.facts()
    unread.refuse_one(_readable_part(where) if page.total else "")
    return page.alone(where.path, where.limit)


def _readable_part(where: Where) -> str:
    """How to get the readable part of a file with an error: a list could not say that it is incomplete."""
    folder, name = os.path.split(where.path)
    pattern = f"./{name}"
    return f" What could be read of it is in a page of its folder: path={folder or '.'!r}, file_pattern={pattern!r}."


def answers(work: Workspace, places: Sequence[ConfinedPath], question: Question, most: int) -> Iterator[FoundRows]:
    """The answers of all files in order, with at least the first `most` rows; in processes if there is much to parse.

    A hostile file can crash the process that parses it, or take gigabytes: only small files are parsed in this process.
    """
    sizes = [_size(place) for place in places]
    if len(places) <= _ALONE and sum(sizes) <= _ALONE_BYTES:
        yield answer_here(work, places, question, most)
        return
    batches = [*_batches([[str(place.root), *place.parts] for place in places], sizes)]
    roots: list[Json] = [str(root) for root in work.confined.roots]
    fixed: dict[str, Json] = {"roots": roots, "question": msgspec.to_builtins(question), "most": most}
    with Workers(min(os.cpu_count() or 1, len(batches))) as workers:
        for parts in workers.run(_address(answer_in_worker), fixed, batches):
            for batch, value in parts:
                answer = _ended(batch) if value is None else msgspec.convert(value, FoundRows)
                most -= answer.total
                fixed["most"] = max(0, most)  # later batches need no more rows than that
                yield answer


def _batches(paths: Sequence[list[str]], sizes: Sequence[int]) -> Iterator[Batch]:
    batch: Batch = []
    batch_bytes = 0
    for path, size in zip(paths, sizes, strict=True):
        if batch and (len(batch) == _BATCH or batch_bytes + size > _BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(path)
        batch_bytes += size
    if batch:
        yield batch


def _address(function: Callable[..., object]) -> str:
    """The address by which a worker finds a function."""
    return f"{function.__module__}:{function.__name__}"


def _size(place: ConfinedPath) -> int:
    try:
        return os.lstat(place.path).st_size
    except OSError:
        return 0  # it is gone, and will be listed as such


def _ended(batch: Batch) -> FoundRows:
    file = printable("/".join(batch[0][1:]))
    return FoundRows(unparsed=[Unparsed(file=file, error="it ended the process that parsed it: too large or too deep")])
