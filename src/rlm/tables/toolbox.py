"""`tables.list`, `tables.describe` and `tables.sql` for guest code: answered on the host by confined processes."""

from __future__ import annotations

import asyncio
import csv
import os
import tempfile
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from rlm.core.exceptions import ConfigError, ToolError, ToolNotFoundError
from rlm.core.extras import install_command
from rlm.core.types import ToolSpec
from rlm.tables.snapshots import Snapshot
from rlm.tables.sources import TableFile, plain_name, table_files, unused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rlm.confined.launcher import ConfinedServer
    from rlm.core.interfaces import Tool
    from rlm.core.types import Json

_MEMORY_BYTES = 1 << 30
_ROWS, _MOST_ROWS = 1_000, 100_000
_ROWS_OF = "rlm.documents.readers.reading:rows"
_DUCK, _LITE = "rlm.tables.engines.duck", "rlm.tables.engines.lite"
_TEXT = {"type": "string"}


class TableTools:
    """The tables of one run, as tools; close it with the run."""

    def __init__(self, files: tuple[TableFile, ...], timeout_s: float) -> None:
        self._files = files
        self._timeout_s = timeout_s
        self._server: ConfinedServer | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._tables: dict[str, dict[str, str]] | None = None
        self._databases = {file.name: file for file in files if file.is_database}
        self._snapshots: dict[str, Snapshot] = {}
        self._turn = asyncio.Lock()
        self._tools: dict[str, Tool] = {tool.spec.name: tool for tool in self._made()}

    @classmethod
    def of(cls, paths: tuple[str, ...], timeout_s: float) -> TableTools | None:
        """The tools for the files at these paths; None without any. Raises:
        ConfigError: a file is none that can be a table, or a package is missing.
        """
        files = table_files(paths)
        if not files:
            return None
        if any(not file.is_database for file in files) and util.find_spec("duckdb") is None:
            raise ConfigError(f"tables need a package that is missing\n{install_command('tables')}")
        return cls(files, timeout_s)

    def get(self, name: str) -> Tool:
        """Find a tool by its name.

        Raises:
            ToolNotFoundError: there is none of that name.
        """
        if name not in self._tools:
            raise ToolNotFoundError(f"there is no {name}: tables has list(), describe(name) and sql(query, limit=...)")
        return self._tools[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def allowed(self) -> Iterator[Tool]:
        """All of them: none changes anything."""
        return iter(self)

    def close(self) -> None:
        """End the processes and remove what was unpacked; idempotent, from any thread."""
        if self._server is not None:
            self._server.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _made(self) -> Iterator[Tool]:
        yield _TableTool(
            ToolSpec(
                name="tables.list",
                description=_LIST.format(", ".join(Path(file.path).name for file in self._files)),
                parameters=_parameters(),
            ),
            self._answer,
            self._list,
        )
        yield _TableTool(
            ToolSpec(name="tables.describe", description=_DESCRIBE, parameters=_parameters(name=_TEXT)),
            self._answer,
            self._describe,
        )
        optional = {"limit": {"type": "integer"}, "database": _TEXT}
        yield _TableTool(
            ToolSpec(name="tables.sql", description=_SQL, parameters=_parameters(optional, query=_TEXT)),
            self._answer,
            self._sql,
        )

    async def _answer(self, function: Callable[..., Json], arguments: Mapping[str, Json]) -> Json:
        """Call a function in a thread, one at a time; a cancelled one ends with its process."""
        async with self._turn:
            try:
                return await asyncio.to_thread(function, **arguments)
            except asyncio.CancelledError:
                if self._server is not None:
                    self._server.end_call()
                raise

    def _list(self) -> Json:
        rows: list[Json] = [
            {"name": name, "file": Path(table["given"]).name, "form": table["form"]}
            for name, table in self._known().items()
        ]
        for name, file in self._databases.items():
            (found,) = self._call(f"{_LITE}:names", path=self._database(name))
            about = {"database": name, "file": Path(file.path).name, "form": "sqlite"}
            rows += [{"name": each, **about} for each in cast("list[str]", found)]
        return rows

    def _describe(self, name: str) -> Json:
        _require_text("name", name)
        database, _, table = name.rpartition(".")
        if name in self._known():
            return self._call(f"{_DUCK}:describe", tables=self._known(), name=name, memory_bytes=_MEMORY_BYTES)[0]
        if database in self._databases or (not database and len(self._databases) == 1):
            path = self._database(database or next(iter(self._databases)))
            return self._call(f"{_LITE}:describe", path=path, name=table)[0]
        known = ", ".join([*self._known(), *(f"{each}.TABLE" for each in self._databases)])
        raise ToolError(f"there is no table {name!r}; there are {known}")

    def _sql(self, query: str, limit: int = _ROWS, database: str | None = None) -> Json:
        _require_text("query", query)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= _MOST_ROWS:
            raise ToolError(
                f"limit has to be a number from 1 to {_MOST_ROWS:,}; page with LIMIT and OFFSET in the query"
            )
        if database is None and not self._known() and len(self._databases) == 1:
            database = next(iter(self._databases))
        if database is None:
            batches = self._call(
                f"{_DUCK}:ask", tables=self._known(), sql=query, limit=limit, memory_bytes=_MEMORY_BYTES
            )
        elif database in self._databases:
            batches = self._call(f"{_LITE}:ask", path=self._database(database), sql=query, limit=limit)
        else:
            raise ToolError(f"there is no database {database!r}; there are {', '.join(self._databases) or 'none'}")
        return [row for batch in batches for row in cast("list[Json]", batch)]

    def _database(self, name: str) -> str:
        """The file to read a database from: a copy where it is in use."""
        if name not in self._snapshots:
            copy = Path(self._own_folder(), f"{name}.db")
            self._snapshots[name] = Snapshot(Path(self._databases[name].path), copy)
        return str(self._snapshots[name].path())

    def _own_folder(self) -> str:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="rlm-tables-")
        return self._folder.name

    def _known(self) -> dict[str, dict[str, str]]:
        """The tables that DuckDB reads, by name; sheets become files first."""
        if self._tables is None:
            found: dict[str, dict[str, str]] = {}
            for file in self._files:
                if file.form == "sheets":
                    found |= self._sheets(file, found)
                elif not file.is_database:
                    found[file.name] = {"path": file.path, "form": file.form, "given": file.path}
            self._tables = found
        return self._tables

    def _sheets(self, file: TableFile, known: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """The sheets of a workbook, each written to a file of CSV that goes with the run."""
        folder = self._own_folder()
        found: dict[str, dict[str, str]] = {}
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for what, said in cast("list[tuple[str, Any]]", self._call(_ROWS_OF, files=(fd,))):
                if what == "sheet":
                    name = unused(plain_name(f"{file.name}_{said}"), {*known, *found})
                    path = Path(folder, f"{name}.csv")
                    path.touch()
                    found[name] = {"path": str(path), "form": "csv", "given": file.path}
                else:
                    with path.open("a", encoding="utf-8", newline="") as sheet:
                        csv.writer(sheet).writerows(said)
        finally:
            os.close(fd)
        return {name: table for name, table in found.items() if Path(table["path"]).stat().st_size}

    def _call(self, target: str, files: tuple[int, ...] = (), **arguments: Json) -> list[Json]:
        from rlm.confined.launcher import CallFailed, ConfinedCall, ConfinedServer

        if self._server is None:
            self._server = ConfinedServer()
        readable = [file.path for file in self._files]
        call = ConfinedCall(
            target=target,
            arguments=msgspec.to_builtins(arguments),
            preload=["duckdb"] if target.startswith(_DUCK) else [],
            readable=[*readable, *([self._folder.name] if self._folder else [])],
            memory_bytes=_MEMORY_BYTES,
            timeout_s=self._timeout_s,
        )
        try:
            return list(self._server.call(call, files))
        except CallFailed as error:
            raise ToolError(f"{error}") from error


_LIST = "The tables with their names, files and forms; files: {}."
_DESCRIBE = "The columns of a table with their types, its number of rows, and the first ones."
_SQL = "The rows that one SELECT gives, as a list of dicts, at most `limit` (1000); `database`: that of an SQLite file."


@dataclass(frozen=True, slots=True)
class _TableTool:
    """One of the tools."""

    spec: ToolSpec
    answer: Any
    function: Any
    reads_only: bool = True

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Answer on the host.

        Raises:
            ToolError: it was refused, failed or took too long.
        """
        known = self.spec.parameters["properties"]
        if unknown := [name for name in arguments if name not in known]:
            raise ToolError(f"{self.spec.name} takes {', '.join(known) or 'nothing'}, not {', '.join(unknown)}")
        if missing := [name for name in self.spec.parameters["required"] if name not in arguments]:
            raise ToolError(f"{self.spec.name} needs {', '.join(missing)}")
        return cast("Json", await self.answer(self.function, arguments))


def _parameters(optional: Mapping[str, Json] | None = None, /, **required: Json) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def _require_text(name: str, given: object) -> None:
    if not isinstance(given, str) or not given.strip():
        raise ToolError(f"{name} has to be a text")
