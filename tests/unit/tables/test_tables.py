"""SQL over the files of a user: what it gives, and what it can't do."""

from __future__ import annotations

import asyncio
import gzip
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ConfigError, ToolError
from rlm.tables import toolbox
from rlm.tables.toolbox import TableTools
from tests.support.documents import xlsx

if TYPE_CHECKING:
    from pathlib import Path

SALES = "id,region,price\n1,north,2.5\n2,south,4\n3,north,1.5\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One file of each form."""
    import duckdb

    made = tmp_path_factory.mktemp("tables")
    (made / "sales.csv").write_text(SALES)
    (made / "packed.csv.gz").write_bytes(gzip.compress(SALES.encode()))
    (made / "2024 tabs.tsv").write_text("a\tb\n1\tx\n")
    (made / "lines.jsonl").write_text('{"a": 1, "b": {"c": [1, 2]}}\n{"a": 2}\n')
    (made / "latin.csv").write_bytes("name,n\nJosé,1\n".encode("latin-1"))
    (made / "ragged.csv").write_text("a,b,c\n1,2,3\n4,5\n6\n")
    duckdb.sql("SELECT range AS n, 'x' || range AS s FROM range(1000)").write_parquet(str(made / "big.parquet"))
    rows = '<row><c t="str"><v>k</v></c><c t="str"><v>v</v></c></row><row><c t="str"><v>a</v></c><c><v>7</v></c></row>'
    (made / "book.xlsx").write_bytes(xlsx({"First": rows, "Empty": ""}))
    with sqlite3.connect(made / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER, total REAL)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(1, 2.5), (2, 4.0)])
    database.close()
    return made


@pytest.fixture(scope="module")
def tools(folder: Path):
    made = TableTools.of(tuple(str(path) for path in sorted(folder.iterdir())), 30.0)
    assert made is not None
    yield made
    made.close()


def call(tools: TableTools, name: str, /, **arguments: Any) -> Any:
    return asyncio.run(tools.get(f"tables.{name}").call(arguments))


def test_every_form_is_listed(tools):
    rows = call(tools, "list")
    assert {(row["name"], row["form"]) for row in rows} == {
        ("sales", "csv"), ("packed", "csv"), ("t_2024_tabs", "tsv"), ("lines", "jsonl"), ("latin", "csv"),
        ("ragged", "csv"), ("big", "parquet"), ("book_first", "csv"), ("orders", "sqlite"),
    }  # fmt: skip
    assert next(row for row in rows if row["name"] == "orders")["database"] == "shop"


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (
            "SELECT region, sum(price) AS total FROM sales GROUP BY 1 ORDER BY 1",
            [{"region": "north", "total": 4.0}, {"region": "south", "total": 4.0}],
        ),
        ("SELECT count(*) AS n FROM packed JOIN sales USING (id)", [{"n": 3}]),
        ('SELECT a, b FROM "t_2024_tabs"', [{"a": 1, "b": "x"}]),
        ("SELECT b.c FROM lines ORDER BY a", [{"c": [1, 2]}, {"c": None}]),
        ("FROM latin", [{"name": "José", "n": 1}]),
        ("SELECT count(*) AS n, count(c) AS c FROM ragged", [{"n": 3, "c": 1}]),
        ("SELECT max(n) AS n FROM big", [{"n": 999}]),
        ("SELECT v FROM book_first WHERE k = 'a'", [{"v": 7}]),
        ("SELECT price FROM sales_text WHERE id = '2'", [{"price": "4"}]),
        ("SELECT 1 AS a, 2 AS a", [{"a": 1, "a_2": 2}]),
        ("SELECT DATE '2024-01-02' AS d, 'NaN'::DOUBLE AS f, 1.25::DECIMAL(9, 2) AS m, '\\xff'::BLOB AS b",
         [{"d": "2024-01-02", "f": None, "m": 1.25, "b": "ff"}]),
    ],
)  # fmt: skip
def test_rows_are_dicts_of_json(tools, query, rows):
    assert call(tools, "sql", query=query) == rows


def test_a_database_is_asked_by_its_name(tools):
    assert call(tools, "sql", query="SELECT sum(total) AS s FROM orders", database="shop") == [{"s": 6.5}]


def test_what_fits_no_type_is_read_as_text_and_so_the_model_is_told(tmp_path):
    (tmp_path / "late.csv").write_text("a,b\n" + "1,x\n" * 30_000 + "odd,y\n")
    (tmp_path / "quoted.csv").write_text("a,b\n" + '1,"two\nlines"\n' * 3)
    (tmp_path / "wide.csv").write_text(",".join(f"c{n}" for n in range(10_000)) + "\n" + "1," * 9_999 + "2\n")
    made = TableTools.of(tuple(str(tmp_path / f"{name}.csv") for name in ("late", "quoted", "wide")), 30.0)
    assert made is not None
    with pytest.raises(ToolError, match="called NAME_text, all columns are text"):
        call(made, "sql", query="SELECT sum(a) FROM late")
    assert call(made, "sql", query="SELECT sum(try_cast(a AS INTEGER)) AS s FROM late_text") == [{"s": 30_000}]
    assert call(made, "sql", query="SELECT DISTINCT b FROM quoted") == [{"b": "two\nlines"}]
    assert call(made, "sql", query="SELECT c9999 FROM wide") == [{"c9999": 2}]
    made.close()


def test_a_table_is_described(tools):
    about = call(tools, "describe", name="sales")
    assert about["columns"][0] == {"name": "id", "type": "BIGINT"}
    assert (about["rows"], len(about["sample"])) == (3, 3)
    assert call(tools, "describe", name="shop.orders")["columns"][1] == {"name": "total", "type": "REAL"}
    with pytest.raises(ToolError, match="there is no table 'nothing'"):
        call(tools, "describe", name="nothing")


def test_rows_are_capped_by_number_and_by_bytes(tools):
    assert len(call(tools, "sql", query="FROM big", limit=7)) == 7
    with pytest.raises(ToolError, match="more than 8 MB"):
        call(tools, "sql", query="SELECT repeat('x', 10000) AS x FROM big")
    with pytest.raises(ToolError, match="limit has to be"):
        call(tools, "sql", query="FROM big", limit=0)


ATTACKS = [
    "COPY (SELECT 1) TO '{sales}' (use_tmp_file false)",
    "COPY sales TO '{folder}/new.csv'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('{folder}/../x.csv')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_csv('/proc/self/environ')",
    "SELECT * FROM 'https://example.org/x.csv'",
    "ATTACH '{folder}/shop.db'",
    "INSTALL httpfs",
    "LOAD sqlite",
    "CREATE TABLE t AS SELECT 1",
    "DROP VIEW sales",
    "SET memory_limit = '90GB'",
    "PRAGMA enable_external_access = true",
    "EXPORT DATABASE '{folder}/x'",
    "SELECT 1; SELECT 2",
    "CALL pragma_version()",
    "INSERT INTO sales VALUES (4, 'x', 1)",
    "SELECT length(repeat('x', 1500000000) || repeat('y', 1500000000))",
    "SELECT list_sum(range(200000000))",
    "not sql",
    "",
]
LITE_ATTACKS = [
    "ATTACH '{folder}/x.db' AS x",
    "VACUUM INTO '{folder}/x.db'",
    "PRAGMA query_only = 0",
    "CREATE TEMP TABLE t AS SELECT 1",
    "DELETE FROM orders",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT length(zeroblob(3000000000))",
    "SELECT 1; DROP TABLE orders",
    "SELECT * FROM pragma_database_list",
    "SELECT 1" + "+1" * 5000,
    "EXPLAIN DELETE FROM orders",
]


@pytest.mark.parametrize(
    ("query", "database"), [(each, None) for each in ATTACKS] + [(each, "shop") for each in LITE_ATTACKS]
)
def test_attacks_are_refused_and_change_nothing(tools, folder, query, database):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    asked = query.format(sales=folder / "sales.csv", folder=folder)
    with pytest.raises(ToolError) as refused:
        call(tools, "sql", query=asked, database=database)
    assert "root:" not in str(refused.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("query", "database"),
    [
        ("SELECT count(*) FROM range(1000000000000) a, range(1000000) b", None),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r", "shop"),
    ],
)
def test_a_query_without_end_is_stopped_and_the_next_one_answered(folder, query, database):
    made = TableTools.of((str(folder / "sales.csv"), str(folder / "shop.db")), 0.4)
    assert made is not None
    with pytest.raises(ToolError, match=r"it takes longer than 0\.4 s"):
        call(made, "sql", query=query, database=database)
    made._timeout_s = 30.0
    assert call(made, "sql", query="SELECT 1 AS a", database="shop") == [{"a": 1}]
    made.close()


def test_a_cancelled_query_ends_and_the_next_one_is_answered(folder):
    made = TableTools.of((str(folder / "sales.csv"),), 60.0)
    assert made is not None
    endless = {"query": "SELECT count(*) FROM range(1000000000000) a, range(1000000) b"}

    async def cancelled() -> Any:
        asked = asyncio.create_task(made.get("tables.sql").call(endless))
        while made._server is None or made._server._server is None:
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        return await made.get("tables.sql").call({"query": "SELECT 1 AS a"})

    assert asyncio.run(cancelled()) == [{"a": 1}]
    made.close()


def test_a_database_alone_needs_no_name_and_no_package(folder, monkeypatch):
    monkeypatch.setattr(toolbox.util, "find_spec", lambda _name: None)
    made = TableTools.of((str(folder / "shop.db"),), 30.0)
    assert made is not None
    assert call(made, "sql", query="SELECT count(*) AS n FROM orders") == [{"n": 2}]
    made.close()
    with pytest.raises(ConfigError, match="tables need a package that is missing\n.*duckdb"):
        TableTools.of((str(folder / "sales.csv"),), 30.0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"\x89PNG\r\n\x1a\n\0\0", "is no table"),
        ("missing.csv", None, "is no file"),
        ("x.csv.xz", b"\xfd7zXZ\x00 and more", "unpack it first"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}.*{words}"):
        TableTools.of((str(tmp_path / name),), 30.0)


def test_a_database_in_use_is_read_as_it_was_last_committed(tmp_path):
    path = tmp_path / "busy.db"
    made = None
    writer = sqlite3.connect(path, isolation_level=None)
    try:
        writer.execute("PRAGMA journal_mode = wal")
        writer.execute("CREATE TABLE t (a)")
        writer.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(500)])
        made = TableTools.of((str(path),), 30.0)
        assert made is not None
        asked = {"query": "SELECT count(*) AS n FROM t"}
        assert call(made, "sql", **asked) == [{"n": 500}]
        writer.execute("BEGIN")
        writer.execute("DELETE FROM t")
        assert call(made, "sql", **asked) == [{"n": 500}]
        writer.execute("COMMIT")
        assert call(made, "sql", **asked) == [{"n": 0}]
    finally:
        writer.close()
        if made is not None:
            made.close()


def test_a_database_in_the_middle_of_a_transaction_is_not_read(tmp_path):
    path = tmp_path / "busy.db"
    with sqlite3.connect(path) as writer:
        writer.execute("CREATE TABLE t (a)")
    writer.close()
    (tmp_path / "busy.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    made = TableTools.of((str(path),), 30.0)
    assert made is not None
    with pytest.raises(ToolError, match="a transaction under way"):
        call(made, "sql", query="SELECT * FROM t")
    made.close()
