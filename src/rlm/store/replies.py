"""Replies to sub-calls kept across runs, in one SQLite file readable by its owner only.

It is only a cache: where the file can't be used, every call is a miss and runs go on.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.types import ModelReply

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUSY_S = 5.0
_SCHEMA = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply BLOB NOT NULL) WITHOUT ROWID"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ModelReply).decode


def cache_path(environ: Mapping[str, str]) -> Path:
    """The path of this user's cache: `$XDG_CACHE_HOME/rlm/replies.sqlite`."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".cache")
    return Path(base) / "rlm" / "replies.sqlite"


class SqliteReplies:
    """A `ReplyCache` in one file. Each use has a connection of its own, so any thread may call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.failure: str | None = None
        """Why the file can't be used; None until a use has failed."""

    def get(self, key: str) -> ModelReply | None:
        row = self._execute("SELECT reply FROM replies WHERE key = ?", (key,))
        try:
            return _decode(row[0]) if row else None
        except msgspec.DecodeError:  # written by another version: as good as absent
            return None

    def put(self, key: str, reply: ModelReply) -> None:
        self._execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, _encode(reply)))

    def _execute(self, statement: str, values: tuple[object, ...]) -> Any:
        """Run `statement` in a transaction and return its first row; None without one, or if the file can't be used."""
        with self._lock:
            if self.failure is not None:
                return None
            try:
                with closing(self._open()) as connection, connection:
                    return connection.execute(statement, values).fetchone()
            except (sqlite3.Error, OSError) as error:
                self.failure = f"{self._path}: {error}"
                return None

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level="IMMEDIATE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_SCHEMA)
        return connection
