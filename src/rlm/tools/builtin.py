"""The built-in tools over `allowed_paths`: read a file, list files, search in them. They change nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined
from rlm.tools.decorator import tool
from rlm.tools.reading import read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rlm.core.interfaces import Tool
    from rlm.core.types import Json
    from rlm.processes.worker import WorkerPool

SEARCH_TIMEOUT_S = 20.0
_SEARCH_ANSWERS_S = 15.0
"""Seconds after which a search returns what it has found so far."""


def file_tools(
    allowed_paths: Iterable[str], workers: WorkerPool, recover: Callable[[], None] = lambda: None
) -> tuple[Tool, ...]:
    """`file_read`, `list_files` and `search_files` over these folders and files; no tools if nothing is allowed.

    `recover` is called, in a thread, before each look at the files: it puts back what edits that were cut off left.
    Raises:
        ConfigError: a path does not exist.
    """
    confined = Confined(allowed_paths)
    if not confined.roots:
        return ()
    search = _Search(roots=[str(root) for root in confined.roots], workers=workers, recover=recover)
    return (_file_read(confined, recover), _list_files(search), _search_files(search))


def _file_read(confined: Confined, recover: Callable[[], None]) -> Tool:
    @tool(reads_only=True)
    def file_read(path: str, start_line: int = 1, end_line: int | None = None) -> str:
        """Read lines of a text file, at most 2,000 at a time; a mark at the end says if there is more.

        Args:
            path: The file, as list_files names it.
            start_line: The first line to read, from 1.
            end_line: The last line to read, inclusive.
        """
        recover()
        return read_lines(confined, path, start_line, end_line)

    return file_read


def _list_files(search: _Search) -> Tool:
    @tool(reads_only=True)
    async def list_files(path: str = ".", pattern: str = "**/*", limit: int = 200, hidden: bool = False) -> str:
        """List the files below a folder with their sizes, one a line, at most 1,000.

        Args:
            path: The folder; "." is all that may be read.
            pattern: A glob such as "**/*.md" or "src/*.{py,js}"; without a "/" it is matched with names alone.
            limit: The most files to list.
            hidden: Whether to list hidden and git-ignored files too.
        """
        return await search("find_files", {"path": path, "pattern": pattern, "limit": limit, "hidden": hidden})

    return list_files


def _search_files(search: _Search) -> Tool:
    @tool(reads_only=True)
    async def search_files(
        pattern: str,
        path: str = ".",
        glob: str = "**/*",
        ignore_case: bool = False,
        max_results: int = 100,
        hidden: bool = False,
    ) -> str:
        """Search files for a regular expression, line by line; results are `path:line:text`, one a line.

        Args:
            pattern: A Python regular expression.
            path: A folder or a file; "." is all that may be read.
            glob: Which files, such as "**/*.py".
            ignore_case: Whether case makes no difference.
            max_results: The most lines to return, up to 1,000.
            hidden: Whether to search hidden and git-ignored files too.
        """
        query: dict[str, Json] = {"pattern": pattern, "path": path, "glob": glob, "ignore_case": ignore_case}
        query |= {"max_results": max_results, "hidden": hidden, "seconds": _SEARCH_ANSWERS_S}
        return await search("find_lines", {"query": query})

    return search_files


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Looks through files in a worker, which can be killed."""

    roots: list[str]
    workers: WorkerPool
    recover: Callable[[], None]

    async def __call__(self, function: str, arguments: Mapping[str, Json]) -> str:
        await asyncio.to_thread(self.recover)
        roots: list[Json] = [*self.roots]
        asked = {"roots": roots, **arguments}
        try:
            found = await self.workers.call(f"rlm.tools.reading:{function}", asked, timeout_s=SEARCH_TIMEOUT_S)
        except UnicodeEncodeError as error:
            raise ToolError("an argument holds characters that no text can have (lone surrogates).") from error
        return str(found)
