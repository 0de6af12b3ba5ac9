"""The questions of a batch, read from a file of JSON lines or CSV, one at a time: however many there are, no more than
one row is held. All of them are checked before anything is spent.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from rlm.core.exceptions import ConfigError
from rlm.jobs.batch.template import Template, shown_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

WRONG_SHOWN = 20
"""So many wrong rows are named in one error."""
ID_CHARS = 1_000
_KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_Read: TypeAlias = "Iterator[tuple[int, dict[str, Any] | ConfigError]]"
"""The rows of a file with the number of the line where each begins; an error in the place of one that can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchQuestion:
    """One row of the file: what one run of the batch is asked."""

    position: int
    """From 0, in the order of the file."""
    id: str
    prompt: str
    context: Any
    """The data, in any form that `Request` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The names of the columns that are no part of a prompt."""

    id: str = "id"
    prompt: str = "prompt"
    context: str = "context"
    """The data itself."""
    files: str = "files"
    """A path or a pattern, or a list of them, relative to the folder of the questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """A file of questions, and how its rows are read."""

    path: Path
    template: Template | None = None
    """Makes the prompt of each row; None: each row has a prompt of its own."""
    columns: Columns = field(default_factory=Columns)
    shared: tuple[Path, ...] = ()
    """Files that every question is about."""

    def __iter__(self) -> Iterator[BatchQuestion]:
        """The questions, in the order of the file.

        Raises:
            ConfigError: a row is wrong.
        """
        for position, (line, row) in enumerate(self._rows()):
            if isinstance(row, ConfigError):
                raise ConfigError(f"{self.path}, line {line}: {row}")
            yield self._question(position, line, row)

    def check(self) -> int:
        """Check every row, and return how many there are.

        Raises:
            ConfigError: some are wrong: names the first of them by their lines; or there is none at all.
        """
        count, wrong, more = 0, list[str](), 0
        with closing(_Ids()) as ids:
            for count, (line, row) in enumerate(self._rows(), 1):
                try:
                    if isinstance(row, ConfigError):
                        raise row
                    question = self._question(count - 1, line, row)
                    ids.add(question.id, line)
                    self._check_files(question.context)
                except ConfigError as error:
                    more += len(wrong) >= WRONG_SHOWN
                    wrong += [f"line {line}: {error}"] if len(wrong) < WRONG_SHOWN else []
        if wrong:
            rest = [f"and {more:,} more"] if more else []
            raise ConfigError("\n".join([f"{self.path}: nothing was asked, for rows are wrong", *wrong, *rest]))
        if not count:
            raise ConfigError(f"{self.path} has no questions")
        return count

    def digest(self) -> str:
        """The SHA-256 of the file.

        Raises:
            ConfigError: it can't be read.
        """
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error

    def _rows(self) -> _Read:
        kind = _KINDS.get(self.path.suffix.lower())
        if kind is None:
            raise ConfigError(f"{self.path}: questions come from a file whose name ends in {', '.join(_KINDS)}")
        try:
            yield from _from_csv(self.path) if kind == "csv" else _from_lines(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error

    def _question(self, position: int, line: int, row: Mapping[str, Any]) -> BatchQuestion:
        given = row.get(self.columns.id)
        name = str(line) if given in (None, "") else given if isinstance(given, str) else str(given)
        if isinstance(given, dict | list | bool) or len(name) > ID_CHARS:
            raise ConfigError(f"{self.columns.id!r} has to be a text of at most {ID_CHARS:,} characters, or a number")
        return BatchQuestion(position=position, id=name, prompt=self._prompt(row), context=self._context(row))

    def _prompt(self, row: Mapping[str, Any]) -> str:
        if self.template is not None:
            prompt: Any = self.template.fill(row)
        elif self.columns.prompt in row:
            prompt = row[self.columns.prompt]
        else:
            raise ConfigError(
                f"there is no column {self.columns.prompt!r}, but {shown_columns(row)}: "
                "say --prompt 'a text with {column} in it'"
            )
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError("the prompt is empty, or not a text")
        return prompt

    def _context(self, row: Mapping[str, Any]) -> Any:
        inline, named = row.get(self.columns.context), row.get(self.columns.files)
        names = [named] if isinstance(named, str) else named or []
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise ConfigError(f"{self.columns.files!r} has to be a path, or a list of paths")
        paths = [*self.shared, *(self.path.parent / Path(name).expanduser() for name in names if name)]
        if paths and inline is not None and inline != "":
            raise ConfigError(f"the data is in {self.columns.context!r} or in files, not in both")
        if paths:
            return paths if len(paths) > 1 else paths[0]
        return inline

    def _check_files(self, context: Any) -> None:
        for path in context if isinstance(context, list) else [context]:
            if isinstance(path, Path) and not _is_there(str(path)):
                raise ConfigError(f"there is no file {path}")


class _Ids:
    """The ids that were seen, on disk: a million of them are too many for memory."""

    def __init__(self) -> None:
        self._seen = sqlite3.connect("")  # a private file, which is gone when this is closed
        self._seen.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def add(self, name: str, line: int) -> None:
        key = name.encode("utf-8", "surrogatepass")
        if not self._seen.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (key, line)).rowcount:
            (first,) = self._seen.execute("SELECT line FROM ids WHERE id = ?", (key,)).fetchone()
            raise ConfigError(f"the id {name[:100]!r} is that of line {first} already")

    def close(self) -> None:
        self._seen.close()


@lru_cache(maxsize=10_000)
def _is_there(path: str) -> bool:
    if Path(path).exists():
        return True
    return glob.has_magic(path) and next(glob.iglob(path, recursive=True), None) is not None  # noqa: PTH207 - whole patterns, absolute too


def _from_lines(path: Path) -> _Read:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _object(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _object(line: bytes) -> dict[str, Any] | ConfigError:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return ConfigError(f"not JSON: {error}")
    return row if isinstance(row, dict) else ConfigError("a question has to be a JSON object")


def _from_csv(path: Path) -> _Read:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = _header(reader)
        line = reader.line_num + 1
        rows = iter(reader)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, ConfigError(f"not CSV: {error}")
                row = []
            if row:
                yield line, _fields(header, row)
            line = reader.line_num + 1


def _header(reader: Iterable[list[str]]) -> list[str]:
    header = next(iter(reader), [])
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise ConfigError(f"two columns are named {twice!r}")
    return header


def _fields(header: list[str], row: list[str]) -> dict[str, Any] | ConfigError:
    if len(row) != len(header):
        return ConfigError(f"{len(row)} columns where the first line names {len(header)}")
    if any("\udc80" <= char <= "\udcff" for value in row if not value.isascii() for char in value):
        return ConfigError("not UTF-8")
    return dict(zip(header, row, strict=True))
