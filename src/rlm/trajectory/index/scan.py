"""Brings the index of one run up to date: reads the new whole lines of its file, folds them, and stores the states.

All of this is one transaction, which begins by reading what another process may have stored meanwhile, so that each
line is taken in exactly once, by whichever process.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from rlm.trajectory.fold import STEPS, RunFold
from rlm.trajectory.index.database import RUN_COLUMNS, SPAN_COLUMNS
from rlm.trajectory.reader import LINE_BYTES, is_written, open_record
from rlm.trajectory.states import RunState, SpanState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

BATCH_EVENTS = 10_000
BATCH_SPANS = 60_000
"""How many events and spans are held in memory before they are written to the index."""
_GUARD_BYTES = 4096
_RUN_COLUMNS = ", ".join(RUN_COLUMNS)
_SPAN_COLUMNS = ", ".join(SPAN_COLUMNS)
_RUN_MARKS = ", ".join("?" * (len(RUN_COLUMNS) + 1))
_SPAN_MARKS = ", ".join("?" * (len(SPAN_COLUMNS) + 1))

_Id: TypeAlias = Annotated[str, Meta(max_length=64)]


class _Line(Struct, gc=False):
    """What every event has, its body left alone, within bounds so that nothing in a record can overflow the index."""

    at: Annotated[float, Meta(ge=0, le=1e11)]
    span: _Id
    parent: _Id | None
    type: _Id
    body: msgspec.Raw
    served: bool = False


_decode_line = msgspec.json.Decoder(_Line).decode
_body_decoders: dict[str, Callable[[msgspec.Raw], object]] = {
    kind.TYPE: msgspec.json.Decoder(kind).decode for kind in STEPS
}


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block as one transaction: all of it or nothing, while no other process writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def refresh_run(connection: sqlite3.Connection, path: Path, *, rebuild: bool = False) -> bool:
    """Take in what is new in a run's file; returns whether the state of the run changed.

    Raises:
        ConfigError: the file can't be read.
        sqlite3.Error: the index can't be used.
    """
    with open_record(path) as file, transaction(connection):
        return _RunScan(connection, file, path.stem).refresh(rebuild=rebuild)


def forget_run(connection: sqlite3.Connection, run_id: str) -> None:
    """Remove a run from the index."""
    row = connection.execute("SELECT run FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is not None:
        for table in ("events", "spans", "problems", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE run = ?", row)  # noqa: S608 - names of our own


def _body(line: _Line) -> object:
    """The body of an event; None if the fold takes in no such event, or if the body doesn't fit the type."""
    decode = _body_decoders.get(line.type)
    try:
        return None if decode is None else decode(line.body)
    except (msgspec.DecodeError, RecursionError):
        return None


class _RunScan:
    """The file of a run and its part of the index, within one transaction."""

    def __init__(self, connection: sqlite3.Connection, file: IO[bytes], run_id: str) -> None:
        self._connection = connection
        self._file = file
        self._run_id = run_id
        self._run = -1
        self._types: dict[str, int] = {}

    def refresh(self, *, rebuild: bool) -> bool:
        about = os.fstat(self._file.fileno())
        state = self._load()
        if rebuild or self._is_another(state, about):
            forget_run(self._connection, self._run_id)
            state = self._load()
        before = msgspec.structs.astuple(state)
        self._take(state, about.st_size)
        state.inode, state.size_bytes, state.mtime_ns = about.st_ino, about.st_size, about.st_mtime_ns
        state.guard = self._guard(state.read_bytes)
        if not state.has_ended:
            state.status = "running" if is_written(self._file) else "crashed"
        changed = msgspec.structs.astuple(state) != before
        if changed:
            self._save(state)
        return changed

    def _load(self) -> RunState:
        query = f"SELECT run, {_RUN_COLUMNS} FROM runs WHERE id = ?"  # noqa: S608
        row = self._connection.execute(query, (self._run_id,)).fetchone()
        if row is None:
            [[self._run]] = self._connection.execute("SELECT coalesce(max(run), 0) + 1 FROM runs")
            return RunState(self._run_id)
        self._run = row[0]
        return RunState(*row[1:])

    def _save(self, state: RunState) -> None:
        statement = f"INSERT OR REPLACE INTO runs (run, {_RUN_COLUMNS}) VALUES ({_RUN_MARKS})"  # noqa: S608
        self._connection.execute(statement, (self._run, *msgspec.structs.astuple(state)))

    def _is_another(self, state: RunState, about: os.stat_result) -> bool:
        """Whether the file is another one than was read, or has changed otherwise than by growing."""
        if not state.inode:
            return False
        if about.st_ino != state.inode or about.st_size < state.size_bytes:
            return True
        if about.st_size == state.size_bytes:
            return about.st_mtime_ns != state.mtime_ns
        return self._guard(state.read_bytes) != state.guard

    def _guard(self, read_bytes: int) -> bytes:
        """A digest over the first and the last 4 KB of what was read."""
        self._file.seek(0)
        digest = hashlib.sha256(self._file.read(min(_GUARD_BYTES, read_bytes)))
        start = self._file.seek(max(0, read_bytes - _GUARD_BYTES))
        digest.update(self._file.read(read_bytes - start))
        return digest.digest()

    def _take(self, state: RunState, size: int) -> None:
        """Take in the whole lines among the first `size` bytes."""
        fold = RunFold(state, self._span_by_id)
        rows: list[tuple[int, int, float, int, int, int, int]] = []
        seq, run, types = state.events, self._run, self._types
        for offset, length, line in self._lines(state, size):
            try:
                head = _decode_line(line)
            except (ValueError, RecursionError):
                state.skipped_lines += bool(line.strip())
                continue
            kind = types.get(head.type)
            if kind is None:
                kind = self._type(head.type)
            rows.append((run, seq, head.at, fold.add(head, _body(head), seq), kind, offset, length))
            seq += 1
            if len(rows) >= BATCH_EVENTS:
                self._write_events(rows)
                if len(fold.spans) >= BATCH_SPANS:
                    self._write_spans(fold)
        self._write_events(rows)
        self._write_spans(fold)

    def _lines(self, state: RunState, size: int) -> Iterator[tuple[int, int, bytes]]:
        """The offset, length and content of each new line; the content of a line that is too long is replaced by a byte
        that no event has."""
        file, offset = self._file, state.read_bytes
        file.seek(offset)
        while offset < size:
            line = file.readline(LINE_BYTES)
            length = len(line)
            if line[-1:] != b"\n" and length == LINE_BYTES:
                line = b"\0"
                while (more := file.readline(LINE_BYTES)) and not more.endswith(b"\n"):
                    length += len(more)
                length += len(more)
                if not more:
                    return
            elif line[-1:] != b"\n":
                return
            if offset + length > size:
                return
            yield offset, length, line
            offset += length
            state.read_bytes = offset

    def _type(self, name: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO types (name) VALUES (?)", (name,))
        [[kind]] = self._connection.execute("SELECT type FROM types WHERE name = ?", (name,))
        self._types[name] = kind
        return int(kind)

    def _write_events(self, rows: list[tuple[int, int, float, int, int, int, int]]) -> None:
        """Write these rows to the index, and empty the list."""
        self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        rows.clear()

    def _write_spans(self, fold: RunFold) -> None:
        """Write the spans and problems of the batch to the index, and forget them."""
        fold.settle(self._span_by_number)
        spans = ((self._run, *msgspec.structs.astuple(span)[:-1]) for span in fold.spans.values())
        self._connection.executemany(f"INSERT OR REPLACE INTO spans VALUES ({_SPAN_MARKS})", spans)  # noqa: S608
        problems = ((self._run, *problem) for problem in fold.problems)
        self._connection.executemany("INSERT INTO problems VALUES (?, ?, ?, ?, ?)", problems)
        fold.clear()

    def _span_by_id(self, span_id: str) -> SpanState | None:
        return self._span("spans INDEXED BY spans_by_id WHERE run = ? AND id = ?", span_id)

    def _span_by_number(self, number: int) -> SpanState:
        span = self._span("spans WHERE run = ? AND number = ?", number)
        assert span is not None  # a parent's number was written with its child's
        return span

    def _span(self, source: str, value: str | int) -> SpanState | None:
        query = f"SELECT {_SPAN_COLUMNS} FROM {source}"  # noqa: S608 - names of our own
        row = self._connection.execute(query, (self._run, value)).fetchone()
        return None if row is None else SpanState(*row)
