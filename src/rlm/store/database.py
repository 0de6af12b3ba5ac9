"""The SQLite file in which a user's sessions, skills and workspaces are kept, readable by its owner only.

Any thread and any number of processes may use it at once: each use is one connection and one transaction.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rlm.core.config.files import user_folder
from rlm.core.exceptions import ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_BUSY_S = 10.0
_SESSIONS_AND_SKILLS = (
    "CREATE TABLE sessions (name TEXT PRIMARY KEY COLLATE NOCASE, description TEXT NOT NULL, created_at REAL NOT NULL)",
    "CREATE TABLE states (session TEXT NOT NULL COLLATE NOCASE REFERENCES sessions ON DELETE CASCADE,"
    " revision INTEGER NOT NULL, saved_at REAL NOT NULL, run TEXT NOT NULL, state BLOB NOT NULL,"
    " PRIMARY KEY (session, revision))",
    "CREATE TABLE cells (id INTEGER PRIMARY KEY, session TEXT NOT NULL COLLATE NOCASE REFERENCES sessions"
    " ON DELETE CASCADE, at REAL NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL, code TEXT NOT NULL)",
    "CREATE INDEX cells_of ON cells (session, id)",
    "CREATE TABLE skills (name TEXT NOT NULL, version INTEGER NOT NULL, saved_at REAL NOT NULL, skill BLOB NOT NULL,"
    " PRIMARY KEY (name, version))",
)
_WORKSPACES = ("CREATE TABLE workspaces (id TEXT PRIMARY KEY, created_at REAL NOT NULL, note BLOB NOT NULL)",)
_STEPS = (_SESSIONS_AND_SKILLS, _WORKSPACES)
"""What made each version of the schema of the one before, from none."""


def store_path(configured: str | None, environ: Mapping[str, str]) -> Path:
    """The path of the store: as configured, else `$XDG_DATA_HOME/rlm/store.sqlite`.

    Raises:
        ConfigError: neither the configuration nor the environment says where to put it.
    """
    if configured is not None:
        return Path(configured)
    folder = user_folder(environ, "XDG_DATA_HOME", ".local/share")
    if folder is None:
        raise ConfigError("sessions and skills have nowhere to be kept: set HOME, XDG_DATA_HOME or store_path")
    return folder / "store.sqlite"


class Database:
    """The store as a database; its file is made at first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is kept whole, or not at all if the body raises.

        Raises:
            StoreError: the file can't be used; the message says why.
        """
        try:
            with closing(self._open()) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                self._migrate(connection)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: sessions and skills can't be used: {_said(error)}") from error

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            held = os.fstat(descriptor)
            if not stat.S_ISREG(held.st_mode):
                raise StoreError(f"{self.path} is not a regular file: choose another with store_path")
            if held.st_uid != os.geteuid():
                raise StoreError(f"{self.path} belongs to another user: choose another with store_path")
            if stat.S_IMODE(held.st_mode) & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA auto_vacuum = FULL")  # what is deleted leaves the file
            connection.execute("PRAGMA journal_mode = DELETE")  # for one transaction per connection, a WAL is slower
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(_STEPS):
            raise StoreError(f"{self.path} was made by a newer rlm (its schema has version {version}): upgrade rlm")
        if version < len(_STEPS):
            for statement in (each for step in _STEPS[version:] for each in step):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(_STEPS)}")


def row_of(kind: type[T], row: Sequence[Any]) -> T:
    """The dataclass `kind` with the values of `row` as its first fields.

    Raises:
        StoreError: the values don't fit: something else has written to the store.
    """
    names = [each.name for each in fields(kind)]
    try:
        return msgspec.convert(dict(zip(names, row, strict=False)), kind)
    except msgspec.ValidationError as error:
        raise StoreError(f"the store has a row that doesn't fit a {kind.__name__}: {error}") from error


def _said(error: Exception) -> str:
    """What went wrong, in the words of the system or SQLite, and what to do about it."""
    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, sqlite3.OperationalError):
        return f"{error} (by another process, for {_BUSY_S:g} s)" if "locked" in str(error) else str(error)
    return f"{error}\nmove the file away to start afresh, or choose another with store_path"
