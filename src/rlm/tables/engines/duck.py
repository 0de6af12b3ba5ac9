"""CSV, JSON lines and Parquet, asked through DuckDB.

Its own settings don't contain hostile SQL: a path that may be read may be written too, and functions of texts and lists
take more memory than its limit. The process that this runs in does: no file can be written, memory has a hard limit,
and the process answers one query.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.tables.engines.shapes import RefusedQuery, batches, columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection

_OFF = (
    "autoinstall_known_extensions",
    "autoload_known_extensions",
    "allow_community_extensions",
    "python_enable_replacements",
)
_MOST_THREADS = 4
_WORDS_CHARS = 200
_SAMPLE = 5
_COUNTED_BYTES = 1 << 30
"""The largest file of text whose rows are counted for a description; Parquet says how many it has."""
_PADDED = "null_padding=true"
_LENIENT = "strict_mode=false, encoding='latin-1'"
_READERS = {
    "csv": (
        "read_csv({path}, {padding})",
        f"read_csv({{path}}, {{padding}}, {_LENIENT})",
    ),
    "tsv": ("read_csv({path}, delim='\t', {padding})", f"read_csv({{path}}, delim='\t', {{padding}}, {_LENIENT})"),
    "jsonl": ("read_json({path}, format='newline_delimited')", "read_json({path})"),
    "parquet": ("read_parquet({path})",),
}
"""How a form is read; where that fails, as of a ragged file or one in another encoding, how else."""
_AS_TEXT = "_text"
"""What the name of a table ends in whose columns are all text, as of a CSV whose rows don't fit its types."""


def ask(
    _files: Sequence[int], *, tables: Mapping[str, Mapping[str, str]], sql: str, limit: int, memory_bytes: int
) -> Iterator[list[dict[str, Any]]]:
    """The first rows that one SELECT gives. Raises:
    RefusedQuery: it is none, or its rows are too many.
    """
    import duckdb

    def answer(database: DuckDBPyConnection) -> list[list[dict[str, Any]]]:
        statements = database.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise RefusedQuery("give one SELECT statement: tables can only be read")
        relation = database.sql(statements[0])
        return list(batches(relation.limit(limit).fetchall(), columns(relation.columns), limit))

    yield from _asked(tables, sql, memory_bytes, answer)


def _asked(tables: Mapping[str, Mapping[str, str]], sql: str, memory_bytes: int, answer: Callable[..., Any]) -> Any:
    """What a function makes of a database with these tables. Short rows are filled up, unless the rows of a file have
    line breaks in quotes, for then DuckDB can't."""
    import duckdb

    try:
        return answer(_opened(tables, sql, memory_bytes, _PADDED))
    except duckdb.ConversionException as error:
        first = " ".join(str(error).split())[:_WORDS_CHARS]
        raise RefusedQuery(f"{first} ... In a table of CSV called NAME{_AS_TEXT}, all columns are text.") from error
    except duckdb.Error as error:
        if _PADDED.partition("=")[0] not in str(error):
            raise
    return answer(_opened(tables, sql, memory_bytes, "null_padding=false"))


def describe(
    _files: Sequence[int], *, tables: Mapping[str, Mapping[str, str]], name: str, memory_bytes: int
) -> Iterator[dict[str, Any]]:
    """The columns of a table with their types, how many rows it has, and the first ones."""

    def answer(database: DuckDBPyConnection) -> dict[str, Any]:
        table = database.table(_name(name))
        is_counted = tables[name]["form"] == "parquet" or Path(tables[name]["path"]).stat().st_size <= _COUNTED_BYTES
        rows = table.count("*").fetchall()[0][0] if is_counted else None
        return {
            "columns": [
                {"name": each, "type": str(kind)} for each, kind in zip(table.columns, table.types, strict=True)
            ],
            "rows": rows,
            "sample": [
                row for batch in batches(table.limit(_SAMPLE).fetchall(), table.columns, _SAMPLE) for row in batch
            ],
        }

    yield _asked({name: tables[name]}, name, memory_bytes, answer)


def _opened(tables: Mapping[str, Mapping[str, str]], sql: str, memory_bytes: int, padding: str) -> DuckDBPyConnection:
    """A database with the tables that are named in a query, as views on their files, and nothing else to read."""
    import duckdb

    database = duckdb.connect(":memory:")
    for setting in _OFF:
        database.execute(f"SET {setting} = false")
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    database.execute(f"SET memory_limit = '{memory_bytes * 3 // 4 >> 20}MB'")
    database.execute(f"SET threads = {threads}")
    database.execute("SET temp_directory = ''")
    paths = ", ".join(_text(table["path"]) for table in tables.values())
    database.execute(f"SET allowed_paths = [{paths}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    named = sql.lower()
    for name, table in tables.items():
        if name.lower() in named:
            _create(database, name, table, padding)
        if name.lower() + _AS_TEXT in named and table["form"] in ("csv", "tsv"):
            reader = f"read_csv({_text(table['path'])}, all_varchar=true, {padding}, strict_mode=false)"
            database.execute(f"CREATE VIEW {_name(name + _AS_TEXT)} AS SELECT * FROM {reader}")  # noqa: S608 - quoted
    return database


def _create(database: DuckDBPyConnection, name: str, table: Mapping[str, str], padding: str) -> None:
    """Create the view of a table. Raises:
    RefusedQuery: its file can't be read as what it seems to be.
    """
    import duckdb

    first = ""
    for reader in _READERS[table["form"]]:
        source = reader.format(path=_text(table["path"]), padding=padding)
        try:
            database.execute(f"CREATE VIEW {_name(name)} AS SELECT * FROM {source}")  # noqa: S608 - quoted
        except duckdb.Error as error:
            first = first or str(error).partition("\n")[0]
        else:
            return
    raise RefusedQuery(f"the table {name} can't be read: {first}")


def _text(given: str) -> str:
    return "'" + given.replace("'", "''") + "'"


def _name(given: str) -> str:
    return '"' + given.replace('"', '""') + '"'
