"""The outputs of a batch: one row for each question, in the order of the questions, in a file that takes its name only
when it is whole.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ConfigError
from rlm.core.extras import install_command
from rlm.core.whole_files import part_of, sole_writer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.jobs.batch.folder import BatchManifest
    from rlm.trajectory.batches import Entry

_FIXED = ("id", "status", "answer", "error", "run", "tokens", "cost_usd", "duration_s")


def check_format(form: str) -> None:
    """Check that outputs of this form can be written here.

    Raises:
        ConfigError: a package is missing; says how to install it.
    """
    if form == "parquet":
        _duckdb()


def write_outputs(path: Path, entries: Iterable[Entry], manifest: BatchManifest) -> None:
    """Write the outputs, in the place of those that were there.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        if manifest.format == "csv":
            _write_csv(path, entries, _properties(manifest.output_schema))
        elif manifest.format == "parquet":
            _write_parquet(path, entries, manifest)
        else:
            _write_lines(path, entries, manifest)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}\n--resume writes it again") from error


def _write_lines(path: Path, entries: Iterable[Entry], manifest: BatchManifest) -> None:
    has_values = manifest.output_schema is not None
    with sole_writer(path) as file:
        for entry in entries:
            row = _row(entry) | ({"value": entry.value} if has_values else {})
            file.write(msgspec.json.encode(row) + b"\n")


def _write_csv(path: Path, entries: Iterable[Entry], properties: tuple[str, ...]) -> None:
    with sole_writer(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow([*_FIXED, *properties])
        for entry in entries:
            value = entry.value if isinstance(entry.value, dict) else {}
            writer.writerow([_cell(each) for each in (*_row(entry).values(), *map(value.get, properties))])


def _write_parquet(path: Path, entries: Iterable[Entry], manifest: BatchManifest) -> None:
    """Through lines of JSON, of which the types of the columns are taken."""
    duckdb = _duckdb()
    lines = path.with_name(f".{path.name}.jsonl")
    _write_lines(lines, entries, manifest)
    part = part_of(path)
    part.unlink(missing_ok=True)
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute(
                f"COPY (SELECT * FROM read_json({_quoted(lines)}, format='newline_delimited', sample_size=-1,"  # noqa: S608 - quoted
                f" maximum_object_size=1000000000)) TO {_quoted(part)} (FORMAT parquet)"
            )
        part.replace(path)
    except duckdb.Error as error:
        raise ConfigError(f"{path} can't be written: {error}") from error
    finally:
        lines.unlink(missing_ok=True)
        part.unlink(missing_ok=True)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError(f"outputs in Parquet take a package: {install_command('tables')}") from error
    return duckdb


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _row(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _FIXED}


def _cell(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list | bool) else value


def _properties(schema: Any) -> tuple[str, ...]:
    """The columns of values, by their names in the schema; none that are named like a column that is there anyway."""
    named = schema.get("properties") if isinstance(schema, dict) else None
    return tuple(name for name in named or () if name not in _FIXED)
