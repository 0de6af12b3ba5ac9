"""The SQLite file of an index: how it is created, checked and replaced.

The file holds nothing that the records don't, so any doubt about it (damage, another version, a foreign schema) is
settled by a new one. Like the records, only its owner can read it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

from rlm.trajectory.states import RunState, SpanState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from msgspec import Struct

NAME: Final = "index.sqlite"
VERSION: Final = 5
_BUSY_S: Final = 20.0
_TYPES = {int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}

RUN_COLUMNS: Final = tuple(f'"{name}"' for name in RunState.__struct_fields__)
SPAN_COLUMNS: Final = tuple(f'"{name}"' for name in SpanState.__struct_fields__[:-1])
"""The columns of runs and spans: the fields of their states, but for the id of a span's parent."""


def _declared(state: type[Struct], columns: Sequence[str]) -> str:
    """The columns with their types."""
    hints = get_type_hints(state)
    return ", ".join(
        f"{column} {_type(hints[name])}" for column, name in zip(columns, state.__struct_fields__, strict=False)
    )


def _type(hint: Any) -> str:
    """The type of the column for a field: for one that may be None that of its values, for one of some texts TEXT."""
    kind = next(iter(get_args(hint)), hint)
    return _TYPES[type(kind) if isinstance(kind, str) else kind]


SCHEMA: Final = (
    f"CREATE TABLE runs (run INTEGER PRIMARY KEY, {_declared(RunState, RUN_COLUMNS)})",
    "CREATE UNIQUE INDEX runs_by_id ON runs (id)",
    f"CREATE TABLE spans (run INTEGER, {_declared(SpanState, SPAN_COLUMNS)}, PRIMARY KEY (run, number)) WITHOUT ROWID",
    "CREATE INDEX spans_by_id ON spans (run, id)",
    "CREATE INDEX spans_by_parent ON spans (run, parent_number)",
    "CREATE TABLE events (run INTEGER, seq INTEGER, at REAL, span INTEGER, type INTEGER, offset INTEGER,"
    " length INTEGER, PRIMARY KEY (run, seq)) WITHOUT ROWID",
    "CREATE TABLE types (type INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    "CREATE TABLE problems (run INTEGER, seq INTEGER, span INTEGER, severity TEXT, message TEXT)",
    "CREATE INDEX problems_by_run ON problems (run, seq)",
)


def open_file(log_dir: Path) -> tuple[sqlite3.Connection, str]:
    """The index of a folder, and why it is kept in memory only; empty if it is on disk."""
    path = log_dir / NAME
    try:
        _prepare(path)
        return _connect(path), ""
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "lock" in str(error):
            return open_memory(), f"{path}: {error}"
        return begin_again(log_dir)
    except OSError as error:
        return open_memory(), f"{path}: {error.strerror}"


def open_memory() -> sqlite3.Connection:
    """An empty index in memory, which is gone when its connection is closed."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _create(connection)
    return connection


def remove(path: Path) -> None:
    """Remove the file of an index and those that SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def begin_again(log_dir: Path) -> tuple[sqlite3.Connection, str]:
    """A new, empty index in place of the one on disk, and why it is kept in memory only; empty if it is on disk."""
    path = log_dir / NAME
    try:
        remove(path)
        _prepare(path)
        return _connect(path), ""
    except (OSError, sqlite3.Error) as error:
        return open_memory(), f"{path}: {error}"


def _prepare(path: Path) -> None:
    """Make sure that the file exists, is a regular file, and belongs to this user; a link is refused."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            raise PermissionError(1, "not a file of yours")
        if stat.S_IMODE(about.st_mode) != 0o600:
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if not _is_current(connection):
            _create_once(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_current(connection: sqlite3.Connection) -> bool:
    [[version]] = connection.execute("PRAGMA user_version")
    statements = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
    return bool(version == VERSION and tuple(row[0] for row in statements) == SCHEMA)


def _create_once(connection: sqlite3.Connection) -> None:
    """Create the tables unless another process has done so by now.

    Raises:
        sqlite3.DatabaseError: the file has other tables.
    """
    connection.execute("BEGIN IMMEDIATE")
    if not _is_current(connection):
        [[tables]] = connection.execute("SELECT count(*) FROM sqlite_master")
        if tables:
            connection.execute("ROLLBACK")
            raise sqlite3.DatabaseError("an index of another version")
        _create(connection)
    connection.execute("COMMIT")


def _create(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
