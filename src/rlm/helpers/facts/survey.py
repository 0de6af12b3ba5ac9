"""Asks the same of every file of code in a workspace, in parallel, and pages the answers.

Of one file an answer is a list of rows. Of a folder it is a page: rows, how many there are in all, where the next page
begins, and which files could not be parsed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.context import printable
from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.facts.answers import Answer, Ask, answers
from rlm.helpers.facts.crew import Crew
from rlm.helpers.facts.parsing import Unparsed
from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.paths import Place
    from rlm.core.types import Json
    from rlm.helpers.facts.crew import Batch
    from rlm.helpers.workspace import Workspace

MAX_ROWS = 5_000
"""Of one page."""
USUAL_ROWS = 1_000
MAX_PAGE_BYTES = 4 << 20
_BATCH = 100
_BATCH_BYTES = 2 << 20
_ALONE = 40
_ALONE_BYTES = 512 << 10
"""So many files, if they are small, are parsed here rather than in processes, which have to be started."""
_ERRORS_LISTED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which rows are wanted of all."""

    limit: int
    offset: int

    @classmethod
    def of(cls, limit: int | None, offset: int, usual: int = USUAL_ROWS) -> Window:
        """As a caller gave it.

        Raises:
            ToolError: one is negative.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise ToolError("limit and offset count from 0.")
        return cls(limit=min(usual if limit is None else limit, MAX_ROWS), offset=offset)

    @property
    def end(self) -> int:
        return self.limit + self.offset


@dataclass(slots=True, kw_only=True)
class Page:
    """The rows of a window, taken from all rows as those come in their order; bounded in bytes too."""

    window: Window
    rows: list[Json] = field(default_factory=list)
    total: int = 0
    """Rows that have come."""
    _bytes: int = 0

    def add(self, rows: Sequence[dict[str, Any]], total: int) -> None:
        """Take what belongs here of the next `total` rows; `rows` has the first of them, up to the window's end."""
        for row in rows[max(0, self.window.offset - self.total) :]:
            self._bytes += len(msgspec.json.encode(row)) if len(self.rows) < self.window.limit else MAX_PAGE_BYTES
            if self._bytes > MAX_PAGE_BYTES and self.rows:
                break
            self.rows.append(row)
        self.total += total

    @property
    def next_offset(self) -> int | None:
        """Where the next page begins; None where there is none."""
        end = self.window.offset + len(self.rows)
        return end if end < self.total else None

    def facts(self, what: str, files: int) -> dict[str, Json]:
        """The page as it is given, the rows under `what`."""
        page: dict[str, Json] = {what: self.rows, "total": self.total, "files": files}
        return page if self.next_offset is None else page | {"next_offset": self.next_offset}

    def alone(self, path: str, limit: int | None) -> Json:
        """The rows of one file, as a list.

        Raises:
            ToolError: it has more than are given at once, and no such limit was set.
        """
        if self.next_offset is not None and (limit is None or len(self.rows) < limit):
            raise ToolError(
                f"{shown(path)} has {self.total:,} rows: ask with limit and offset, for {len(self.rows):,} at most."
            )
        return self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The files that are asked, and the page that is wanted of their answers."""

    work: Workspace
    path: str
    file_pattern: str = "**/*.py"
    limit: int | None = None
    offset: int = 0

    @property
    def is_file(self) -> bool:
        """Whether the path is one file.

        Raises:
            ToolError: it is refused or missing.
        """
        return self.path not in ("", ".") and self.work.existing(self.path).path.is_file()

    def places(self, skipped: Skipped) -> list[Place]:
        """The files, without symlinks."""
        places: list[Place] = []
        for place, _ in self.work.files(self.file_pattern, self.path, skipped=skipped):
            name = self.work.name(place.path)
            if name.isprintable():
                places.append(place)
            else:
                skipped.unreadable.append(printable(name))
        return places


def ask(where: Where, what: str, question: str, **about: Any) -> Json:
    """The rows of one file as a list; of a folder, a page with the rows under `what`.

    Raises:
        ToolError: the path is refused; or it is one file that can't be parsed, or has too many rows to be given.
    """
    if where.is_file:
        return rows_of_file(where, Ask(question=question, about=about, named=False))
    return page_of_tree(where, Ask(question=question, about=about), what)


def rows_of_file(where: Where, ask: Ask) -> Json:
    """The rows of one file.

    Raises:
        ToolError: it can't be read or parsed whole, or has more rows than are given at once.
    """
    page = Page(window=Window.of(where.limit, where.offset, MAX_ROWS))
    for answer in in_batches(where.work, [where.work.existing(where.path)], ask, page.window.end):
        if answer.unparsed:
            rest = " What could be read is in a page of its folder: give its name as file_pattern."
            raise ToolError(told(answer.unparsed[0]) + rest * bool(answer.total))
        page.add(answer.rows, answer.total)
    return page.alone(where.path, where.limit)


def page_of_tree(where: Where, ask: Ask, what: str) -> dict[str, Json]:
    """One page of the rows of every file below a folder.

    Raises:
        ToolError: the folder is refused.
    """
    page, skipped = Page(window=Window.of(where.limit, where.offset)), Skipped()
    places = where.places(skipped)
    unparsed: list[Unparsed] = []
    for answer in in_batches(where.work, places, ask, page.window.end):
        page.add(answer.rows, answer.total)
        unparsed += answer.unparsed
    return page.facts(what, len(places)) | troubles(unparsed, skipped)


def in_batches(work: Workspace, places: Sequence[Place], ask: Ask, most: int) -> Iterator[Answer]:
    """The answers of all files in order, rows of the first `most` at least; in processes where there is much to parse.

    A hostile file can take the process that parses it, and gigabytes: only small ones are parsed in this one.
    """
    sizes = [_size(place) for place in places]
    if len(places) <= _ALONE and sum(sizes) <= _ALONE_BYTES:
        yield answers(work, places, ask, most)
        return
    batches = [*_batches([[str(place.root), *place.parts] for place in places], sizes)]
    roots: list[Json] = [str(root) for root in work.confined.roots]
    fixed: dict[str, Json] = {"roots": roots, "ask": msgspec.to_builtins(ask), "most": most}
    with Crew(min(os.cpu_count() or 1, len(batches))) as crew:
        for parts in crew.run("rlm.helpers.facts.answers:answer_in_worker", fixed, batches):
            for batch, value in parts:
                answer = _ended(batch) if value is None else msgspec.convert(value, Answer)
                most -= answer.total
                fixed["most"] = max(0, most)  # batches that are still to begin need no more rows than that
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


def _size(place: Place) -> int:
    try:
        return os.lstat(place.path).st_size
    except OSError:
        return 0  # it vanished, and will be listed as that


def troubles(unparsed: Sequence[Unparsed], skipped: Skipped) -> dict[str, Json]:
    """What a page says of files that it has nothing from; empty if there are none."""
    said: dict[str, Json] = {}
    if unparsed:
        said["errors"] = [msgspec.to_builtins(each) for each in unparsed[:_ERRORS_LISTED]]
        said["errors_total"] = len(unparsed)
    if left_out := skipped.facts():
        said["left_out"] = {**left_out}
    return said


def told(unparsed: Unparsed) -> str:
    """A file that can't be parsed, as a message."""
    where = "" if unparsed.line is None else f", line {unparsed.line}"
    return f"{shown(unparsed.file)}{where}: {unparsed.error}."


def _ended(batch: Batch) -> Answer:
    file = printable("/".join(batch[0][1:]))
    return Answer(unparsed=[Unparsed(file=file, error="it ended the process that parsed it: too large or too deep")])
