"""SQLite files, asked through the standard library: read only, without functions that open files, within limits."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rlm.tables.engines.shapes import RefusedQuery, batches, columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAY = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_NOT = frozenset({"load_extension", "readfile", "writefile", "fts3_tokenizer", "edit"})
_TEXT_BYTES = 16 << 20
_DEPTH = 200
_SAMPLE = 5
_TABLES = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_' ORDER BY 1"
)


def names(_files: Sequence[int], *, path: str) -> Iterator[list[str]]:
    """The names of the tables and views in a file."""
    yield [row[0] for row in _opened(path).execute(_TABLES)]


def ask(_files: Sequence[int], *, path: str, sql: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    """The first rows that one SELECT gives. Raises:
    RefusedQuery: it is none, or its rows are too many.
    """
    database = _opened(path)
    database.set_authorizer(_may)
    try:
        cursor = database.execute(sql)
    except (sqlite3.Warning, sqlite3.ProgrammingError) as error:  # several statements
        raise RefusedQuery("give one SELECT statement: tables can only be read") from error
    except sqlite3.DatabaseError as error:
        if "not authorized" in str(error) or "prohibited" in str(error):
            raise RefusedQuery(f"give one SELECT statement: tables can only be read ({error})") from error
        raise RefusedQuery(str(error)) from error
    if cursor.description is None:
        raise RefusedQuery("give one SELECT statement: tables can only be read")
    yield from batches(cursor, columns(each[0] for each in cursor.description), limit)


def describe(_files: Sequence[int], *, path: str, name: str) -> Iterator[dict[str, Any]]:
    """The columns of a table with their types, how many rows it has, and the first ones."""
    database, quoted = _opened(path), '"' + name.replace('"', '""') + '"'
    found = database.execute(f"PRAGMA table_info({quoted})").fetchall()
    if not found:
        raise RefusedQuery(f"there is no table {name!r} in that file")
    cursor = database.execute(f"SELECT * FROM {quoted} LIMIT {_SAMPLE}")  # noqa: S608 - quoted
    sample = [row for batch in batches(cursor, [each[1] for each in found], _SAMPLE) for row in batch]
    (rows,) = database.execute(f"SELECT count(*) FROM {quoted}").fetchone()  # noqa: S608 - quoted
    yield {"columns": [{"name": each[1], "type": each[2]} for each in found], "rows": rows, "sample": sample}


def _opened(path: str) -> sqlite3.Connection:
    # Nothing can be locked or written here: a file in use comes as a copy.
    database = sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True, isolation_level=None)
    for pragma in ("query_only=1", "trusted_schema=0", "cell_size_check=1", "temp_store=memory"):
        database.execute(f"PRAGMA {pragma}")
    if hasattr(database, "setlimit"):  # Python 3.11
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _TEXT_BYTES)
        database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        database.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, _DEPTH)
    database.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return database


def _may(action: int, _first: str | None, function: str | None, *_others: str | None) -> int:
    is_allowed = action in _MAY and (action != sqlite3.SQLITE_FUNCTION or (function or "").lower() not in _NOT)
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY
