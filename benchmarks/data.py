"""Documents and tables, each beside what the library alone takes, in CPU time: a busy machine changes little of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from benchmarks.figures import Figure
from rlm.runtime.inputs import prepare
from rlm.tables.toolbox import TableTools
from tests.support.documents import pdf, words

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGES, _LINES = 300, 45
_CSV_BYTES = 500 << 20
_PYPDF = "import pypdf; [page.extract_text() for page in pypdf.PdfReader({path!r}).pages]"
_GROUPED = "SELECT region, count(*) AS n, sum(price) AS total FROM {table} GROUP BY 1 ORDER BY 1"
_DUCKDB = """
import duckdb
duckdb.sql("SET memory_limit = '512MB'; SET enable_progress_bar = false")
duckdb.sql({sql!r}).fetchall()
"""


def long_pdf() -> list[Figure]:
    """A PDF of 300 pages as a context, beside pypdf alone in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.pdf")
        line = "Line {} of page {} has some words that fill it up to its usual width"
        path.write_bytes(pdf([words(*(line.format(n, page) for n in range(_LINES))) for page in range(_PAGES)]))
        os.environ["XDG_CACHE_HOME"] = folder
        alone = _taken(lambda: _python(_PYPDF.format(path=str(path))))
        ours = _taken(lambda: prepare(path).close())
        again = _taken(lambda: prepare(path).close())
    return [
        Figure(name="300-page PDF, beside pypdf alone", value=ours / alone, unit="x", limit=1.5),
        Figure(name="the same PDF again, from the cache", value=again, unit="s", limit=1.0),
    ]


def grouped_csv() -> list[Figure]:
    """A CSV of 500 MB grouped by a cell's call, beside DuckDB alone in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sales.csv")
        rows = "".join(f"{n},region{n % 7},{n % 1000}.5,a note of some words for row {n}\n" for n in range(100_000))
        with path.open("w", encoding="utf-8") as file:
            file.write("id,region,price,note\n")
            while file.tell() < _CSV_BYTES:
                file.write(rows)
        alone = _taken(lambda: _python(_DUCKDB.format(sql=_GROUPED.format(table=f"'{path}'"))))
        tools = cast("TableTools", TableTools.of((str(path),), 300.0))
        try:
            ask = {"query": _GROUPED.format(table="sales")}
            ours = _taken(lambda: _asked(tools, ask))
        finally:
            tools.close()
    return [Figure(name="500 MB of CSV grouped, beside DuckDB alone", value=ours / alone, unit="x", limit=1.3)]


def _asked(tools: TableTools, ask: dict[str, str]) -> None:
    asyncio.run(tools.get("tables.sql").call(ask))
    tools.close()  # only what has ended is counted


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def _taken(function: Callable[[], object]) -> float:
    """How many seconds of CPU time a call takes, with the processes that it starts and ends."""
    began = sum(os.times()[:4])
    function()
    return sum(os.times()[:4]) - began
