"""What the service keeps in a SQLite file: the runs that it took, by token, and the tokens. The file is its own user's
alone. A commit is safe from a killed process; a power cut may take the last ones."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

OPEN = "open"
"""The state of a run in the file while it has no result."""
_BUSY_S = 10.0
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, created_at REAL NOT NULL,"
    " ended_at REAL, state TEXT NOT NULL, prompt TEXT NOT NULL, model TEXT NOT NULL, request BLOB, result BLOB,"
    " records TEXT NOT NULL, cap_usd REAL, cost_usd REAL, follows TEXT, key TEXT, key_digest TEXT)",
    "CREATE UNIQUE INDEX IF NOT EXISTS runs_by_key ON runs (tenant, key) WHERE key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS runs_by_time ON runs (tenant, created_at, id)",
    "CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, created_at REAL NOT NULL,"
    " revoked_at REAL, rights BLOB NOT NULL)",
    f"PRAGMA user_version = {_VERSION}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as it is kept."""

    id: str
    tenant: str
    created_at: float
    prompt: str
    """Its beginning."""
    model: str
    request: bytes | None
    """What was asked, as JSON; None once it has ended."""
    records: str
    """The paths of its records, one a line."""
    state: str = OPEN
    ended_at: float | None = None
    result: bytes | None = None
    """What it came to, as JSON."""
    cap_usd: float | None = None
    """The most that it may cost."""
    cost_usd: float | None = None
    follows: str | None = None
    """The run whose conversation it goes on with."""
    key: str | None = None
    """The Idempotency-Key that it was asked with."""
    key_digest: str | None = None
    """A digest of what was asked with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Which runs are looked for; None: whichever."""

    state: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None
    text: str | None = None
    """A part of the prompt's beginning."""


_CONDITIONS = ("state = ?", "model = ?", "created_at >= ?", "created_at < ?", "instr(lower(prompt), lower(?)) > 0")
"""What the fields of a filter ask for, in their order."""
_COLUMNS = ", ".join(RunRow.__slots__)
_MARKS = ", ".join(f":{name}" for name in RunRow.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token as it is kept: never itself."""

    name: str
    digest: str
    """Its SHA-256."""
    created_at: float
    revoked_at: float | None
    rights: bytes
    """What it may do, as JSON."""


class ServiceState:
    """The file of the service; used by one thread at a time, and by any number of processes."""

    def __init__(self, folder: Path) -> None:
        """Open the file, which is made if need be.

        Raises:
            StoreError: it can't be used.
        """
        self.path = folder / "service.sqlite"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self._told():
                self._migrate()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: the service can't keep its state: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, run: RunRow) -> bool:
        """Keep a new run; False where another has its key already."""
        values = {name: getattr(run, name) for name in RunRow.__slots__}
        return self._added(f"INSERT INTO runs ({_COLUMNS}) VALUES ({_MARKS})", values)  # noqa: S608

    def take_up(self, run_id: str, records: str) -> None:
        """Take note of the records of a run that is resumed."""
        self._do("UPDATE runs SET records = ? WHERE id = ?", records, run_id)

    def end(self, run_id: str, state: str, result: bytes, cost_usd: float | None) -> None:
        """Take note of what a run came to."""
        self._do(
            "UPDATE runs SET state = ?, result = ?, cost_usd = ?, ended_at = ?, request = NULL WHERE id = ?",
            *(state, result, cost_usd, time.time(), run_id),
        )

    def remove(self, run_id: str) -> None:
        """Forget a run."""
        self._do("DELETE FROM runs WHERE id = ?", run_id)

    def get(self, tenant: str, run_id: str) -> RunRow | None:
        """A run of a token."""
        return next(self._runs("tenant = ? AND id = ?", tenant, run_id), None)

    def by_key(self, tenant: str, key: str) -> RunRow | None:
        """The run that a token asked for with that Idempotency-Key."""
        return next(self._runs("tenant = ? AND key = ?", tenant, key), None)

    def by_prefix(self, tenant: str, prefix: str) -> list[RunRow]:
        """The runs of a token whose keys begin so; a prefix ends with a colon."""
        return list(self._runs("tenant = ? AND key >= ? AND key < ?", tenant, prefix, f"{prefix[:-1]};"))

    def page(self, tenant: str, *, before: tuple[float, str] | None, kept: RowFilter, count: int) -> list[RunRow]:
        """Runs of a token, the newest first, those that are older than `before` (when it began, its id)."""
        where, values = ["tenant = ?"], [tenant]
        if before is not None:
            where.append("(created_at, id) < (?, ?)")
            values += [*before]  # type: ignore[list-item]
        for condition, value in zip(
            _CONDITIONS, (kept.state, kept.model, kept.since, kept.until, kept.text), strict=True
        ):
            if value is not None:
                where.append(condition)
                values.append(value)  # type: ignore[arg-type]
        return list(self._runs(f"{' AND '.join(where)} ORDER BY created_at DESC, id DESC LIMIT {count:d}", *values))

    def unfinished(self) -> list[RunRow]:
        """Every run without a result, the oldest first."""
        return list(self._runs("state = ? ORDER BY created_at, id", OPEN))

    def unfinished_count(self, tenant: str | None = None) -> int:
        """How many runs of a token, or of all, have no result."""
        if tenant is None:
            return int(self._one("SELECT count(*) FROM runs WHERE state = ?", OPEN))
        return int(self._one("SELECT count(*) FROM runs WHERE state = ? AND tenant = ?", OPEN, tenant))

    def spent_usd(self, tenant: str, since: float) -> float:
        """What the runs of a token that began since then cost, or may cost at most as long as that isn't known."""
        said = "SELECT sum(coalesce(cost_usd, cap_usd, 0.0)) FROM runs WHERE tenant = ? AND created_at >= ?"
        return float(self._one(said, tenant, since) or 0.0)

    def counts(self) -> dict[str, int]:
        """How many runs there are in each state."""
        with self._told():
            return dict(self._connection.execute("SELECT state, count(*) FROM runs GROUP BY state").fetchall())

    def cost_usd(self) -> float:
        """What all runs cost, as far as that is known."""
        return float(self._one("SELECT sum(cost_usd) FROM runs") or 0.0)

    def add_token(self, token: TokenRow) -> bool:
        """Keep a token; False where another has its name already."""
        values = {name: getattr(token, name) for name in TokenRow.__slots__}
        said = "INSERT INTO tokens (name, digest, created_at, revoked_at, rights)"
        return self._added(f"{said} VALUES (:name, :digest, :created_at, :revoked_at, :rights)", values)

    def revoke(self, name: str) -> bool:
        """Let a token open nothing any more; False where no valid one has that name."""
        with self._told():
            said = "UPDATE tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL"
            return self._connection.execute(said, (time.time(), name)).rowcount == 1

    def tokens(self) -> list[TokenRow]:
        """Every token, revoked ones too, by its name."""
        said = "SELECT name, digest, created_at, revoked_at, rights FROM tokens ORDER BY name"
        with self._told():
            rows = self._connection.execute(said).fetchall()
        return [TokenRow(**dict(zip(TokenRow.__slots__, row, strict=True))) for row in rows]

    def _runs(self, where: str, *values: Any) -> Iterator[RunRow]:
        with self._told():
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM runs WHERE {where}", values).fetchall()  # noqa: S608
        for row in rows:
            yield RunRow(**dict(zip(RunRow.__slots__, row, strict=True)))

    def _do(self, statement: str, *values: Any) -> None:
        with self._told():
            self._connection.execute(statement, values)

    def _added(self, statement: str, values: Mapping[str, Any]) -> bool:
        """Whether a row could be added that has to be the only one with its key."""
        with self._told(), suppress(sqlite3.IntegrityError):
            self._connection.execute(statement, values)
            return True
        return False

    def _one(self, statement: str, *values: Any) -> Any:
        with self._told():
            return self._connection.execute(statement, values).fetchone()[0]

    def _migrate(self) -> None:
        [version] = self._connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StoreError(f"{self.path} was made by a newer rlm: upgrade rlm")
        for statement in _SCHEMA if version < _VERSION else ():
            self._connection.execute(statement)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raises:
        StoreError: the file can't be used; says why.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: the service can't use its state: {error}") from error
