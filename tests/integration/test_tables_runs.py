"""Tables and documents in whole runs: offered where there are some, answered over the wire, served on resume."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core import events
from rlm.core.exceptions import ConfigError
from rlm.sinks.memory import MemorySink
from tests.support.documents import docx, paragraph, pdf, words
from tests.support.environments import COLD

if TYPE_CHECKING:
    from pathlib import Path

CELL = """
rows = tables.sql("SELECT region, sum(price) AS total FROM sales GROUP BY 1 ORDER BY 1")
try:
    tables.sql("COPY sales TO 'x.csv'")
except Exception as error:
    said = str(error)
FINAL([rows, fs.glob("*.csv"), tables.describe("sales")["rows"], [each["name"] for each in tables.list()], said])
"""
ANSWER = [
    [{"region": "n", "total": 4.0}, {"region": "s", "total": 4.0}],
    ["sales.csv"],
    3,
    ["sales"],
    "ToolError: give one SELECT statement: tables can only be read",
]


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text("region,price\nn,2.5\ns,4\nn,1.5\n")
    return path


def runtime(tmp_path: Path, code: str, **settings: Any) -> tuple[RLM, ScriptedBackend]:
    backend = ScriptedBackend([tool_call("execute_code", code=code)])
    return RLM(backend, config=Config(log_dir=str(tmp_path / "logs"), **{**COLD, **settings})), backend


def test_cells_ask_tables_beside_the_helpers(tmp_path: Path, sales: Path) -> None:
    rlm, backend = runtime(tmp_path, CELL, tables=(str(sales),), allowed_paths=(str(tmp_path),))
    with rlm:
        result = rlm.completion("go")
    assert result.value == ANSWER
    system = backend.requests[0].messages[0].content
    assert "`tables.sql(query, limit, database)`" in system
    assert "files: sales.csv" in system


def test_no_tables_are_offered_where_there_are_none(tmp_path: Path) -> None:
    rlm, backend = runtime(tmp_path, "FINAL(1)")
    with rlm:
        rlm.completion("go")
    assert "tables." not in backend.requests[0].messages[0].content


def test_a_file_that_is_no_table_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    rlm, _ = runtime(tmp_path, "FINAL(1)", tables=(str(tmp_path / "missing.csv"),))
    with rlm, pytest.raises(ConfigError, match=r"missing\.csv is no file"):
        rlm.completion("go")


def test_a_run_is_told_and_records_what_was_made_of_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.docx").write_bytes(docx(paragraph("the memo")))
    (tmp_path / "b.pdf").write_bytes(pdf([words("the page"), ""]))
    (tmp_path / "c.docx").write_bytes(docx("<w:p>"))
    sink = MemorySink()
    backend = ScriptedBackend([tool_call("execute_code", code="FINAL([*map(str.split, context.values())])")])
    files = [tmp_path / name for name in ("a.docx", "b.pdf", "c.docx")]
    with RLM(backend, config=Config(log_dir=str(tmp_path / "logs"), **COLD), sinks=[sink]) as rlm:
        result = rlm.completion("go", files[:2])
        with pytest.raises(ConfigError, match=r"c\.docx"):
            rlm.completion("go", files)
    assert result.value == [["the", "memo"], ["---", "page", "1", "---", "the", "page", "---", "page", "2", "---"]]
    said = "\n".join(event.body.message for event in sink.events if isinstance(event.body, events.Warned))
    assert "made by rlm's readers" in said
    assert "made by pypdf" in said
    assert "no text on 1 of 2 pages" in said
    assert os.listdir(tmp_path / "cache" / "rlm" / "documents")  # noqa: PTH208
