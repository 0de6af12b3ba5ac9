"""Sessions: what a REPL held, kept by name, so that another REPL can go on with it, next week and in another sandbox.

A state is kept whole or not at all, as the next revision; the last few revisions stay. What is in it came out of a
sandbox and is hostile: it is bounded and checked here, and put back into sandboxes only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError, StoreError
from rlm.store.names import session_name

if TYPE_CHECKING:
    import sqlite3

    from rlm.store.database import Database

MAX_STATE_BYTES = 16 << 20
"""Of all variables of a session, as text."""
MAX_DESCRIPTION_CHARS = 1_000
MAX_CELL_CHARS = 100_000
KEPT_REVISIONS = 10
KEPT_CELLS = 1_000
_MAX_NAME_CHARS = 200


class Definition(Struct, frozen=True):
    """A statement that makes functions, classes or imports anew."""

    names: list[str]
    source: str


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The variables of a REPL."""

    values: dict[str, str] = {}
    """Variable -> its JSON text, as `rlm.repl.guest.forms` writes it."""
    definitions: list[Definition] = []
    """In the order in which they have to run, after the values are there."""
    lost: dict[str, str] = {}
    """Variables that could not be kept, and why."""
    masked: list[str] = []
    """Variables and definitions in which a secret was masked."""

    @property
    def size_bytes(self) -> int:
        texts = (*self.values, *self.values.values(), *(each.source for each in self.definitions))
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)

    @property
    def names(self) -> list[str]:
        """Every variable that comes back."""
        return [*self.values, *dict.fromkeys(name for each in self.definitions for name in each.names)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One saved state."""

    number: int
    """From 1; 0 is the empty state of a new session."""
    saved_at: float
    run: str
    """The run that saved it; empty where it was no run."""
    state: State
    overtaken: bool = False
    """Another run had saved the session since the state that this one began with."""

    @classmethod
    def empty(cls) -> Revision:
        """What a new session has."""
        return cls(number=0, saved_at=0.0, run="", state=State())


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionNote:
    """A session, without its variables."""

    name: str
    description: str
    created_at: float
    revision: int
    saved_at: float | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellNote:
    """A cell that a session ran."""

    at: float
    run: str
    status: str
    code: str


def state_of(exported: Any) -> State:
    """The state that a guest gave out, held to its bounds.

    Raises:
        StoreError: it is none; the guest broke the rules.
    """
    try:
        state = msgspec.convert(
            {**exported, "definitions": [{"names": n, "source": s} for n, s in exported["definitions"]]}, State
        )
    except (msgspec.ValidationError, TypeError, KeyError, ValueError) as error:
        raise StoreError(f"the sandbox gave out no state: {error}") from error
    names = (*state.values, *state.lost, *(name for each in state.definitions for name in each.names))
    if not all(name.isidentifier() and len(name) <= _MAX_NAME_CHARS for name in names if name != "*"):
        raise StoreError("the sandbox gave out variables with names that are none")
    check_size(state)
    return state


def check_size(state: State) -> None:
    """Raises:
    StoreError: it is larger than a state may be.
    """
    if state.size_bytes > MAX_STATE_BYTES:
        raise StoreError(f"the state has {state.size_bytes:,} bytes; a session keeps at most {MAX_STATE_BYTES:,}")


class SessionStore:
    """The sessions in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure(self, name: str, description: str = "") -> SessionNote:
        """The session of that name, made if need be; a description takes the place of an earlier one.

        Raises:
            ConfigError: the name can't be one, or the description is too long.
            StoreError: the store can't be used.
        """
        name = session_name(name)
        if len(description) > MAX_DESCRIPTION_CHARS:
            raise ConfigError(f"a description has at most {MAX_DESCRIPTION_CHARS:,} characters")
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET description = CASE"
                " excluded.description WHEN '' THEN description ELSE excluded.description END",
                (name, description, time.time()),
            )
            return _notes(connection, name)[0]

    def all(self) -> list[SessionNote]:
        """Every session, the one saved last first."""
        with self._database.transaction() as connection:
            return _notes(connection)

    def load(self, name: str, revision: int | None = None) -> Revision:
        """The latest state, or that revision; the empty one where nothing was saved yet.

        Raises:
            ConfigError: there is no such session, or it keeps that revision no more.
            StoreError: the store can't be used.
        """
        name = session_name(name)
        with self._database.transaction() as connection:
            _require(connection, name)
            row = connection.execute(
                "SELECT revision, saved_at, run, state FROM states WHERE session = ? AND revision = ifnull(?, revision)"
                " ORDER BY revision DESC LIMIT 1",
                (name, revision),
            ).fetchone()
        if row is not None:
            return Revision(number=row[0], saved_at=row[1], run=row[2], state=_decoded(name, row[3]))
        if revision:
            raise ConfigError(f"session {name!r} has no revision {revision} (the last {KEPT_REVISIONS} are kept)")
        return Revision.empty()

    def save(self, name: str, state: State, *, based_on: int | None = None, run: str = "") -> Revision:
        """Keep `state` as the next revision; `based_on` is the one that it began with.

        Raises:
            ConfigError: there is no such session.
            StoreError: it is too large, or the store can't be used; the revisions before are unharmed.
        """
        check_size(state)
        saved_at = time.time()
        with self._database.transaction() as connection:
            _require(connection, session_name(name))
            (latest,) = connection.execute(
                "SELECT ifnull(max(revision), 0) FROM states WHERE session = ?", (name,)
            ).fetchone()
            encoded = msgspec.json.encode(state)
            connection.execute("INSERT INTO states VALUES (?, ?, ?, ?, ?)", (name, latest + 1, saved_at, run, encoded))
            connection.execute(
                "DELETE FROM states WHERE session = ? AND revision <= ?", (name, latest + 1 - KEPT_REVISIONS)
            )
        overtaken = based_on is not None and latest > based_on
        return Revision(number=latest + 1, saved_at=saved_at, run=run, state=state, overtaken=overtaken)

    def add_cell(self, name: str, cell: CellNote) -> None:
        """Note a cell that the session ran; the last `KEPT_CELLS` are kept.

        Raises:
            StoreError: the store can't be used.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO cells (session, at, run, status, code)"
                " SELECT name, ?, ?, ?, ? FROM sessions WHERE name = ?",
                (cell.at, cell.run, cell.status, cell.code[:MAX_CELL_CHARS], name),
            )
            connection.execute(
                "DELETE FROM cells WHERE session = ?1 AND id <= (SELECT id FROM cells WHERE session = ?1"
                " ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                (name, KEPT_CELLS),
            )

    def cells(self, name: str) -> list[CellNote]:
        """The cells that it ran, the oldest first. Raises:
        ConfigError: there is no such session.
        """
        with self._database.transaction() as connection:
            _require(connection, session_name(name))
            rows = connection.execute("SELECT at, run, status, code FROM cells WHERE session = ? ORDER BY id", (name,))
            return [CellNote(at=at, run=run, status=status, code=code) for at, run, status, code in rows]

    def delete(self, name: str) -> None:
        """Forget a session with all its states. Raises:
        ConfigError: there is no such session.
        """
        with self._database.transaction() as connection:
            _require(connection, session_name(name))
            connection.execute("DELETE FROM sessions WHERE name = ?", (name,))


def _require(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM sessions WHERE name = ?", (name,)).fetchone() is None:
        raise ConfigError(f"there is no session {name!r}\nrlm session list shows those there are")


def _notes(connection: sqlite3.Connection, name: str | None = None) -> list[SessionNote]:
    rows = connection.execute(
        "SELECT s.name, s.description, s.created_at, ifnull(t.revision, 0), t.saved_at, ifnull(length(t.state), 0)"
        " FROM sessions s LEFT JOIN states t ON t.session = s.name AND t.revision ="
        " (SELECT max(revision) FROM states WHERE session = s.name) WHERE s.name = ifnull(?, s.name)"
        " ORDER BY ifnull(t.saved_at, s.created_at) DESC",
        (name,),
    )
    fields = ("name", "description", "created_at", "revision", "saved_at", "size_bytes")
    return [SessionNote(**dict(zip(fields, row, strict=True))) for row in rows]


def _decoded(name: str, encoded: bytes) -> State:
    try:
        return msgspec.json.decode(encoded, type=State)
    except msgspec.DecodeError as error:
        raise StoreError(f"the state of session {name!r} can't be read: {error}") from error
