"""The index of a folder of trajectories: `index.sqlite` beside them, made from them, and never more than a copy.

It is brought up to date by reading what is new in each file, and made anew if it is damaged, out of step or of another
version. If it can't be kept on disk, it is kept in memory. The records are never written to.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from rlm.core.events import decode
from rlm.core.exceptions import ConfigError
from rlm.trajectory.index import database, queries, siblings
from rlm.trajectory.index.rows import Page, RunQuery
from rlm.trajectory.index.scan import forget_run, refresh_run, transaction
from rlm.trajectory.reader import LINE_BYTES, SHOWN_MATCHES, Trajectory, is_run_id, list_files, no_runs, open_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rlm.core.events import Event
    from rlm.trajectory.index.rows import Burndown, EventRow, Problem, Rank, SpanGroup, SpanQuery, Timeline
    from rlm.trajectory.reader import RecordFile
    from rlm.trajectory.states import RunState, SpanState

_T = TypeVar("_T")


class Index:
    """The index of one folder. Any thread may call; several processes may have it open at once.

    Only `refresh`, `event` and `read` read the records: call `refresh` first. For a run or a span that the index does
    not have, the answers are empty.
    """

    def __init__(self, log_dir: Path, connection: sqlite3.Connection, note: str) -> None:
        """Use `open` instead."""
        self.log_dir = log_dir
        self._paths: dict[str, Path] = {}
        """Where the records are, as the folder was read last; they may be in folders below it."""
        self.note = note
        """Why the index isn't kept on disk; empty if it is."""
        self._lock = threading.RLock()
        self._use(connection)

    @property
    def kept(self) -> bool:
        """Whether the index is on disk; if not, it is in memory for this object alone."""
        return not self.note

    @classmethod
    def open(cls, log_dir: Path) -> Index:
        """Open the index of a folder, or begin one: in memory if the folder has no records or can't be written.

        Raises:
            ConfigError: the folder can't be read.
        """
        if not list_files(log_dir):  # nothing is written into a folder that is perhaps none of records
            return cls(log_dir, database.open_memory(), f"{log_dir}: there are no records")
        return cls(log_dir, *database.open_file(log_dir))

    def refresh(self, run_id: str | None = None, *, rebuild: bool = False) -> list[str]:
        """Take in what is new in the folder, or in one run; returns the ids of the runs that changed.

        A file that shrank or was replaced is read anew, as all are with `rebuild`; a run whose file is gone is
        forgotten, and one whose file can't be read is left as it is. Where nothing is new, a refresh costs one stat
        for each file.

        Raises:
            ConfigError: the folder can't be read.
        """
        files = self._listed()
        return self._ask(lambda connection: self._refresh(connection, files, run_id, rebuild=rebuild))

    def runs(self, query: RunQuery | None = None) -> Page[RunState]:
        """The runs that fit a query, a page of them; without a query, the latest 50."""
        return self._ask(lambda connection: queries.select_runs(connection, query or RunQuery()))

    def run(self, name: str) -> RunState:
        """The run that `name` means: `last` for the one written last, or an id, or the beginning of one.

        Raises:
            ConfigError: the name fits no run, or several.
        """
        beginning = "" if name == "last" else name.lower()
        cap = 1 if name == "last" else queries.ALL
        rows = self._ask(lambda connection: queries.runs_named(connection, beginning, cap))
        if not rows:
            self._complain(name)
        if len(rows) > 1:
            shown = ", ".join(row.id[:12] for row in rows[:SHOWN_MATCHES])
            raise ConfigError(f"{len(rows)} runs begin with {name!r}: {shown}\ngive more of the id")
        return rows[0]

    def trajectory(self, run_id: str) -> Trajectory:
        """The record of a run of this folder."""
        return Trajectory(self._paths.get(run_id) or self.log_dir / f"{run_id}.jsonl")

    def spans(
        self,
        run_id: str,
        parent: str | None = None,
        *,
        kind: str = "",
        name: str = "",
        offset: int = 0,
        limit: int = 200,
    ) -> Page[SpanState]:
        """The children of `parent` (None: the roots), in order; only those of a kind or a name if one is given."""
        conditions = ["s.parent_number = ?"]
        values: list[Any] = [self._number(run_id, parent)]
        for condition, value in (("s.kind = ?", kind), ("s.name = ?", name)):
            if value:
                conditions.append(condition)
                values.append(value)
        return self._spans(run_id, " AND ".join(conditions), values, (limit or queries.ALL, offset))

    def groups(self, run_id: str, parent: str | None = None, *, offset: int = 0, limit: int = 200) -> Page[SpanGroup]:
        """The children of `parent`, with siblings of one kind and name folded into a group, except turns and cells."""
        number, window = self._number(run_id, parent), (limit or queries.ALL, offset)
        return self._ask(lambda c: queries.select_groups(c, _run(c, run_id), number, window))

    def span(self, run_id: str, span: str) -> SpanState | None:
        """The span of that id; None if the run doesn't have it."""
        return next(iter(self._spans(run_id, "s.number = ?", (self._number(run_id, span),), (1, 0)).rows), None)

    def path(self, run_id: str, span: str) -> list[SpanState]:
        """A span and all spans that it is in, from the root down; empty if the run doesn't have it."""
        found: list[SpanState] = []
        above = self.span(run_id, span)
        while above is not None:
            found.append(above)
            above = None if above.parent is None else self.span(run_id, above.parent)
        return found[::-1]

    def steps(
        self, run_id: str, *, kinds: Sequence[str] = ("exec",), offset: int = 0, limit: int = 200
    ) -> Page[SpanState]:
        """The spans of some kinds anywhere in the run, in order; for the way to the next and the previous step."""
        condition = f"s.kind IN ({', '.join('?' * len(kinds))})"
        return self._spans(run_id, condition, kinds, (limit or queries.ALL, offset))

    def picked(self, run_id: str, query: SpanQuery) -> Page[SpanState]:
        """The spans of a run that fit a query, a page of them, in its order."""
        return self._ask(lambda c: siblings.select_picked(c, _run(c, run_id), query))

    def rank_in_group(self, run_id: str, span: SpanState) -> int:
        """The place of a span, from 0, among its siblings of its kind and name, failures first."""
        return self._ask(lambda c: siblings.rank_in_group(c, _run(c, run_id), span))

    def rank_of_group(self, run_id: str, span: SpanState) -> int:
        """The place, from 0, of the group of a span among those of its siblings; see `groups`."""
        return self._ask(lambda c: siblings.rank_of_group(c, _run(c, run_id), span))

    def rank_of_kind(self, run_id: str, number: int, kinds: Sequence[str]) -> Rank:
        """Where the span of that number stands among all spans of some kinds; -1: before the first."""
        return self._ask(lambda c: siblings.rank_of_kind(c, _run(c, run_id), number, kinds))

    def models(self, run_id: str) -> list[str]:
        """The models that a run called, by name."""
        return self._ask(lambda c: siblings.models_of(c, _run(c, run_id)))

    def all_spans(self, run_id: str, *, offset: int = 0, limit: int = 1_000) -> Page[SpanState]:
        """Every span of the run, in order."""
        return self._spans(run_id, "1", (), (limit or queries.ALL, offset))

    def timeline(self, run_id: str) -> Timeline:
        """Every span of a run as columns.

        Raises:
            ConfigError: the index doesn't have the run.
        """
        row = self.run(run_id)
        return self._ask(lambda c: queries.select_timeline(c, _run(c, row.id), row.started_at, row.last_at))

    def events(
        self,
        run_id: str,
        span: str | None = None,
        *,
        types: Sequence[str] = (),
        after_seq: int = -1,
        limit: int = 1_000,
    ) -> list[EventRow]:
        """Where the events of a run are, in order; only those of a span (not of spans below it) or of some types if
        given."""
        conditions, values = ["e.seq > ?"], [after_seq]
        if span is not None:
            row = self.span(run_id, span)
            if row is None:
                return []
            conditions.append("e.seq BETWEEN ? AND ? AND e.span = ?")
            values += [row.first_seq, row.last_seq, row.number]
        if types:
            conditions.append(f"t.name IN ({', '.join('?' * len(types))})")
            values += types  # type: ignore[arg-type]
        where, cap = " AND ".join(conditions), limit or queries.ALL
        return self._ask(lambda c: queries.select_events(c, _run(c, run_id), where, values, cap))

    def asked_before(self, run_id: str, completion: SpanState, call: SpanState) -> int:
        """The first event of the model call for a turn that came before another call of the completion; -1: there was
        none."""
        return self._ask(lambda c: queries.select_asked_before(c, _run(c, run_id), completion.number, call.number))

    def conversation(self, run_id: str, completion: SpanState, before_seq: int) -> list[EventRow]:
        """Where the messages of a completion are that were in its conversation before an event: those that joined it,
        replies, notes in the place of older ones; and where the record of an earlier run was left."""
        window = (completion.first_seq, before_seq - 1)
        return self._ask(lambda c: queries.select_conversation(c, _run(c, run_id), completion.number, window))

    def event(self, run_id: str, seq: int) -> Event | None:
        """The event with that number, read from the file with its texts whole; None if the file doesn't have it.

        Raises:
            ConfigError: the file can't be read.
        """
        rows = self._ask(lambda c: queries.select_events(c, _run(c, run_id), "e.seq = ?", (seq,), 1))
        return next(self.read(run_id, rows), None)

    def read(self, run_id: str, rows: Sequence[EventRow], *, whole: bool = True) -> Iterator[Event]:
        """The events at those places, read from the file; their texts are whole unless `whole` is False.

        Raises:
            ConfigError: the file can't be read.
        """
        if not rows or not is_run_id(run_id):
            return
        record = self.trajectory(run_id)
        with open_record(record.path) as file:
            for row in rows:
                file.seek(row.offset)
                try:
                    event = decode(file.read(min(row.length, LINE_BYTES)))
                except (ValueError, RecursionError):  # the file changed since: the next refresh sees it
                    continue
                yield record.whole(event) if whole else event

    def problems(self, run_id: str, *, severity: str = "", offset: int = 0, limit: int = 200) -> Page[Problem]:
        """The failures (`error`) or the warnings (`warning`) of a run, in order; both without `severity`."""
        window = (limit or queries.ALL, offset)
        return self._ask(lambda c: queries.select_problems(c, _run(c, run_id), severity, window))

    def errors_up_to(self, run_id: str, seq: int) -> int:
        """How many failures of a run came no later than an event."""
        statement = "SELECT count(*) FROM problems WHERE run = ? AND severity = 'error' AND seq <= ?"
        [[count]] = self._ask(lambda c: c.execute(statement, (_run(c, run_id), seq)).fetchall())
        return int(count)

    def burndown(self, run_id: str) -> Burndown:
        """What the run had spent after each call, and its caps.

        Raises:
            ConfigError: the index doesn't have the run.
        """
        row = self.run(run_id)
        return self._ask(lambda c: queries.select_burndown(c, _run(c, row.id), row))

    def seq_at(self, run_id: str, offset: int) -> int:
        """The number of the event whose line begins at `offset`; -1 if the index doesn't have it."""

        def find(connection: sqlite3.Connection) -> int:
            run, low = _run(connection, run_id), 0
            [[high]] = connection.execute("SELECT coalesce(max(seq), -1) FROM events WHERE run = ?", (run,))
            while low <= high:
                middle = (low + high) // 2
                statement = "SELECT offset FROM events WHERE run = ? AND seq = ?"
                [[there]] = connection.execute(statement, (run, middle))
                if there == offset:
                    return int(middle)
                low, high = (middle + 1, high) if there < offset else (low, middle - 1)
            return -1

        return self._ask(find)

    def close(self) -> None:
        """Close the index; idempotent."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _use(self, connection: sqlite3.Connection) -> None:
        connection.create_function("fold", 1, str.casefold, deterministic=True)
        self._connection = connection

    def _ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """The answer to a question; if the index turns out to be damaged or can't be written, that of a new one."""
        with self._lock:
            try:
                return question(self._connection)
            except sqlite3.DatabaseError as error:
                if not self.kept or "locked" in str(error):
                    said = f"{self.log_dir / database.NAME}: {error}"
                    raise ConfigError(f"{said}\nanother process is at work on it: try again") from error
                self._begin_again(error)
                return question(self._connection)

    def _begin_again(self, error: sqlite3.DatabaseError) -> None:
        """Replace an index that is damaged or can't be written by a new one, and take every record in."""
        self._connection.close()
        if isinstance(error, sqlite3.OperationalError):  # disk full, no right to write
            self.note = f"{self.log_dir / database.NAME}: {error}"
            self._use(database.open_memory())
        else:
            connection, self.note = database.begin_again(self.log_dir)
            self._use(connection)
        self._refresh(self._connection, self._listed(), None, rebuild=True)

    def _listed(self) -> dict[str, RecordFile]:
        """The records that are there now."""
        files = list_files(self.log_dir)
        self._paths = {run_id: file.path for run_id, file in files.items()}
        return files

    def _refresh(
        self, connection: sqlite3.Connection, files: dict[str, RecordFile], run_id: str | None, *, rebuild: bool
    ) -> list[str]:
        known = {
            row[0]: row[1:] for row in connection.execute("SELECT id, inode, size_bytes, mtime_ns, status FROM runs")
        }
        wanted = files if run_id is None else {run_id: files[run_id]} if run_id in files else {}
        gone = [each for each in known if each not in files]
        for each in gone:
            with transaction(connection):
                forget_run(connection, each)
        changed = []
        for each, file in wanted.items():
            facts = (file.about.st_ino, file.about.st_size, file.about.st_mtime_ns)
            if not rebuild and each in known and known[each][:3] == facts and known[each][3] != "running":
                continue
            try:
                if refresh_run(connection, file.path, rebuild=rebuild):
                    changed.append(each)
            except ConfigError:  # this one can't be read; it must not hide the others
                continue
        return [*gone, *changed]

    def _spans(self, run_id: str, conditions: str, values: Sequence[Any], window: tuple[int, int]) -> Page[SpanState]:
        return self._ask(lambda c: queries.select_spans(c, _run(c, run_id), conditions, values, window))

    def _number(self, run_id: str, span: str | None) -> int:
        """The number of a span; -1 for None, and -2 if the run doesn't have the span."""
        if span is None:
            return -1
        statement = "SELECT number FROM spans INDEXED BY spans_by_id WHERE run = ? AND id = ? ORDER BY number LIMIT 1"
        row = self._ask(lambda c: c.execute(statement, (_run(c, run_id), span)).fetchone())
        return -2 if row is None else int(row[0])

    def _complain(self, name: str) -> None:
        [[count]] = self._ask(lambda c: c.execute("SELECT count(*) FROM runs").fetchall())
        if not count:
            raise no_runs(self.log_dir)
        raise ConfigError(f"no run in {self.log_dir} begins with {name!r}\nrlm logs list shows what there is")


def _run(connection: sqlite3.Connection, run_id: str) -> int:
    """The number of a run in the index; -1 if the index doesn't have it."""
    row = connection.execute("SELECT run FROM runs WHERE id = ?", (run_id,)).fetchone()
    return -1 if row is None else int(row[0])
