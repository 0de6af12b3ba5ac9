"""Sessions: what a REPL held, kept by name, so that another REPL can go on with it, next week or in another sandbox.

A state is kept whole or not at all, as the next revision; the last few revisions stay. Its content came out of a
sandbox and is hostile: it is bounded and checked here, and put back into sandboxes only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError, StoreError
from rlm.core.texts import escape_surrogates
from rlm.store.database import row_of
from rlm.store.names import check_text, session_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from rlm.store.database import Database

MAX_STATE_BYTES = 128 << 20
"""The most bytes that all variables of a session may take as text."""
MAX_DESCRIPTION_CHARS = 1_000
MAX_CELL_CHARS = 100_000
KEPT_REVISIONS = 10
KEPT_BYTES = 256 << 20
"""The most bytes that all revisions but the last may take; the oldest are dropped first."""
KEPT_CELLS = 1_000
_MAX_NAMES = 2_000
_MAX_NAME_CHARS = 200
_MAX_WHY_CHARS = 1_000
_MAX_REVISION = 2**62


class Definition(Struct, frozen=True):
    """A statement that defines functions or classes, or imports modules, when a REPL is restored."""

    names: list[str]
    source: str


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The variables of a REPL."""

    values: dict[str, str] = {}
    """The JSON text of each variable, as `rlm.repl.guest.carry.forms` writes it."""
    definitions: list[Definition] = []
    """In the order in which they must run, after the values are set."""
    lost: dict[str, str] = {}
    """Variables that could not be saved, and why."""
    masked: list[str] = []
    """Variables and definitions in which a secret was masked."""

    @property
    def size_bytes(self) -> int:
        texts = (*self.values, *self.values.values(), *(each.source for each in self.definitions))
        return sum(len(text) if text.isascii() else len(text.encode()) for text in texts)

    @property
    def names(self) -> list[str]:
        """Every variable that is restored."""
        return [*self.values, *dict.fromkeys(name for each in self.definitions for name in each.names)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One saved state."""

    number: int
    """From 1; 0 is the empty state of a new session."""
    saved_at: float
    run: str
    """The id of the run that saved it; empty if it was saved outside a run."""
    state: State
    overtaken: bool = False
    """Whether another run saved the session after the state that this one started with."""

    @classmethod
    def empty(cls) -> Revision:
        """The state of a new session, as revision 0."""
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


def add_piece(texts: dict[str, list[str]], piece: Any) -> None:
    """Add the parts of texts that a guest exported to those before.

    Raises:
        StoreError: they are malformed, or more than a session may have.
    """
    try:
        for name, part in msgspec.convert(piece, list[tuple[str, str]]):
            texts.setdefault(name, []).append(part)
    except msgspec.ValidationError as error:
        raise StoreError(f"the sandbox exported no valid state: {error}") from error
    chars = sum(len(part) for parts in texts.values() for part in parts)
    if chars > MAX_STATE_BYTES or len(texts) > _MAX_NAMES:
        raise StoreError(f"the state is too large; a session keeps at most {MAX_STATE_BYTES:,} bytes")


def state_of(exported: Mapping[str, Any]) -> State:
    """The state that a guest exported, checked against all bounds.

    Raises:
        StoreError: it is malformed or breaks a bound; a guest that keeps to the protocol never sends one.
    """
    try:
        definitions = [{"names": names, "source": source} for names, source in exported["definitions"]]
        parts = {"values": exported["values"], "definitions": definitions, "lost": exported["lost"]}
        state = msgspec.convert(parts, State)
    except (msgspec.ValidationError, TypeError, KeyError, ValueError) as error:
        raise StoreError(f"the sandbox exported no valid state: {error}") from error
    return checked(state)


def checked(state: State) -> State:
    """Return `state`, which keeps to the bounds of every state; for its way into the store and out of it.

    Raises:
        StoreError: it breaks one; the message says which.
    """
    defined = [name for each in state.definitions for name in each.names]
    names = (*state.values, *state.lost, *state.masked, *defined)
    if len(names) > 10 * _MAX_NAMES or not all(map(_is_name, names)):
        raise StoreError("the state has names that variables can't have, or too many names")
    if len(state.definitions) > len(defined) or any(len(why) > _MAX_WHY_CHARS for why in state.lost.values()):
        raise StoreError("the state has definitions without names, or reasons that are too long")
    try:
        size_bytes = state.size_bytes
    except UnicodeEncodeError as error:
        raise StoreError(f"the state has text that UTF-8 can't carry: {error}") from error
    if size_bytes > MAX_STATE_BYTES:
        raise StoreError(f"the state has {size_bytes:,} bytes; a session keeps at most {MAX_STATE_BYTES:,}")
    return state


def _is_name(name: str) -> bool:
    return len(name) <= _MAX_NAME_CHARS and name.isidentifier()


class SessionStore:
    """The sessions in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure(self, name: str, description: str = "") -> SessionNote:
        """Return the session of that name, made if need be; a description replaces an earlier one.

        Raises:
            ConfigError: the name can't name a session, or the description is too long or not valid text.
            StoreError: the store can't be used.
        """
        name = session_name(name)
        check_text(description, "the description", MAX_DESCRIPTION_CHARS)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET description = CASE"
                " excluded.description WHEN '' THEN description ELSE excluded.description END",
                (name, description, time.time()),
            )
            return _notes(connection, name)[0]

    def all(self) -> list[SessionNote]:
        """Every session, the last saved first."""
        with self._database.transaction() as connection:
            return _notes(connection)

    def note(self, name: str) -> SessionNote:
        """The session of that name, without its variables.

        Raises:
            ConfigError: there is no such session.
        """
        with self._database.transaction() as connection:
            _require(connection, session_name(name))
            return _notes(connection, name)[0]

    def load(self, name: str, revision: int | None = None) -> Revision:
        """The latest revision, or the one of that number; the empty one if nothing was saved yet.

        Raises:
            ConfigError: there is no such session, or it no longer keeps that revision.
            StoreError: the store can't be used.
        """
        name = session_name(name)
        with self._database.transaction() as connection:
            return _loaded(connection, name, revision)

    def save(
        self, name: str, state: State, *, based_on: int | None = None, run: str = "", resumes: str = ""
    ) -> Revision:
        """Save `state` as the next revision; it was made from `based_on`, by `run`, which may resume another run.

        Raises:
            ConfigError: there is no such session.
            StoreError: the state breaks a bound, or the store can't be used; the revisions before are unharmed.
        """
        name, encoded = session_name(name), msgspec.json.encode(checked(state))
        with self._database.transaction() as connection:
            latest = _latest(connection, name)
            overtaken = based_on is not None and _has_later(connection, name, based_on, (run, resumes))
            saved = Revision(number=latest + 1, saved_at=time.time(), run=run, state=state, overtaken=overtaken)
            _add(connection, name, saved, encoded)
        return saved

    def change(self, name: str, changed: Callable[[State], State]) -> Revision:
        """Save what `changed` makes of the latest state; nobody else can save in between.

        Raises:
            ConfigError: there is no such session.
            StoreError: see `save`.
        """
        name = session_name(name)
        with self._database.transaction() as connection:
            latest = _loaded(connection, name, None)
            state = checked(changed(latest.state))
            saved = Revision(number=latest.number + 1, saved_at=time.time(), run="", state=state)
            _add(connection, name, saved, msgspec.json.encode(state))
        return saved

    def add_cell(self, name: str, cell: CellNote) -> None:
        """Add a cell that the session ran; the last `KEPT_CELLS` are kept.

        Raises:
            StoreError: the store can't be used.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO cells (session, at, run, status, code)"
                " SELECT name, ?, ?, ?, ? FROM sessions WHERE name = ?",
                (cell.at, cell.run, cell.status, escape_surrogates(cell.code[:MAX_CELL_CHARS]), name),
            )
            connection.execute(
                "DELETE FROM cells WHERE session = ?1 AND id <= (SELECT id FROM cells WHERE session = ?1"
                " ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                (name, KEPT_CELLS),
            )

    def cells(self, name: str) -> list[CellNote]:
        """The cells that the session ran, the oldest first.

        Raises:
            ConfigError: there is no such session.
        """
        with self._database.transaction() as connection:
            _require(connection, session_name(name))
            rows = connection.execute("SELECT at, run, status, code FROM cells WHERE session = ? ORDER BY id", (name,))
            return [row_of(CellNote, row) for row in rows]

    def delete(self, name: str) -> None:
        """Delete a session with all its states.

        Raises:
            ConfigError: there is no such session.
        """
        with self._database.transaction() as connection:
            _require(connection, session_name(name))
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("DELETE FROM sessions WHERE name = ?", (name,))


def _require(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM sessions WHERE name = ?", (name,)).fetchone() is None:
        raise ConfigError(f"there is no session {name!r}\nrlm session list shows those there are")


def _loaded(connection: sqlite3.Connection, name: str, revision: int | None) -> Revision:
    _require(connection, name)
    if revision is not None and not 0 <= revision < _MAX_REVISION:
        raise ConfigError(f"a revision is a number from 0 up, not {revision}")
    row = connection.execute(
        "SELECT revision, saved_at, run, state FROM states WHERE session = ? AND revision = ifnull(?, revision)"
        " ORDER BY revision DESC LIMIT 1",
        (name, revision),
    ).fetchone()
    if row is not None:
        return row_of(Revision, (*row[:3], _decoded(name, row[3])))
    if revision:
        raise ConfigError(f"session {name!r} has no revision {revision} (the last {KEPT_REVISIONS} are kept)")
    return Revision.empty()


def _latest(connection: sqlite3.Connection, name: str) -> int:
    _require(connection, name)
    row = connection.execute("SELECT ifnull(max(revision), 0) FROM states WHERE session = ?", (name,)).fetchone()
    return int(row[0])


def _has_later(connection: sqlite3.Connection, name: str, revision: int, own_runs: tuple[str, str]) -> bool:
    """Whether any run but these saved the session after that revision."""
    statement = "SELECT 1 FROM states WHERE session = ? AND revision > ? AND (run = '' OR run NOT IN (?, ?))"
    return connection.execute(statement, (name, revision, *own_runs)).fetchone() is not None


def _add(connection: sqlite3.Connection, name: str, saved: Revision, encoded: bytes) -> None:
    """Write a revision, and drop those that are too old, or don't fit beside newer ones."""
    row = (name, saved.number, saved.saved_at, saved.run, encoded)
    connection.execute("INSERT INTO states VALUES (?, ?, ?, ?, ?)", row)
    connection.execute(
        "DELETE FROM states WHERE session = ?1 AND (revision <= ?2 - ?3 OR revision IN (SELECT revision FROM"
        " (SELECT revision, sum(length(state)) OVER (ORDER BY revision DESC) AS bytes FROM states"
        " WHERE session = ?1 AND revision < ?2) WHERE bytes > ?4))",
        (name, saved.number, KEPT_REVISIONS, KEPT_BYTES),
    )


def _notes(connection: sqlite3.Connection, name: str | None = None) -> list[SessionNote]:
    rows = connection.execute(
        "SELECT s.name, s.description, s.created_at, ifnull(t.revision, 0), t.saved_at, ifnull(length(t.state), 0)"
        " FROM sessions s LEFT JOIN states t ON t.session = s.name AND t.revision ="
        " (SELECT max(revision) FROM states WHERE session = s.name) WHERE s.name = ifnull(?, s.name)"
        " ORDER BY ifnull(t.saved_at, s.created_at) DESC",
        (name,),
    )
    return [row_of(SessionNote, row) for row in rows]


def _decoded(name: str, encoded: bytes) -> State:
    try:
        return checked(msgspec.json.decode(encoded, type=State))
    except (msgspec.DecodeError, TypeError, StoreError) as error:
        raise StoreError(f"the state of session {name!r} can't be read: {error}") from error
