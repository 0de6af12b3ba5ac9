"""The SQL for the tree of a run and for choices among its spans: siblings with those that failed first, and where in
such an order a span stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlm.trajectory.index.queries import ALL, FOLDED, SPAN_FIELDS
from rlm.trajectory.index.rows import Page, Rank
from rlm.trajectory.states import SpanState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from rlm.trajectory.index.rows import SpanQuery

TROUBLE = (
    "CASE WHEN s.status = 'error' THEN 0 WHEN s.total_errors > 0 OR s.kind = 'completion' AND s.status = 'ok'"
    " AND s.detail NOT IN ('', 'completed') THEN 1 ELSE 2 END"
)
"""What is put first among siblings: failures, then what has some below it or ended short of its answer."""
_LENGTH = "coalesce(s.ended_at, (SELECT last_at FROM runs r WHERE r.run = s.run)) - s.started_at"
_ORDERS = {
    "began": "s.number",
    "failed": f"{TROUBLE}, s.number",
    "slowest": f"{_LENGTH} DESC, s.number",
    "dearest": "s.total_spent_usd DESC, s.total_tokens DESC, s.number",
}


def select_picked(connection: sqlite3.Connection, run: int, query: SpanQuery) -> Page[SpanState]:
    """The spans of a run that fit a query, a page of them, in its order."""
    given: list[tuple[str, Any]] = [
        ("s.parent_number = ?", query.parent),
        ("s.kind = ?", query.kind or None),
        ("s.name = ?", query.name or None),
        ("s.model = ?", query.model or None),
        ("s.status = ?", query.status or None),
    ]
    conditions = " AND ".join(["s.run = ?", *(condition for condition, value in given if value is not None)])
    values = [run, *(value for _, value in given if value is not None)]
    where = f"FROM spans s WHERE {conditions}"
    [[total]] = connection.execute(f"SELECT count(*) {where}", values)
    statement = f"SELECT {SPAN_FIELDS} {where} ORDER BY {_ORDERS[query.order]} LIMIT ? OFFSET ?"
    rows = connection.execute(statement, (*values, query.limit or ALL, query.offset))
    return Page(tuple(SpanState(*row) for row in rows), total)


def rank_in_group(connection: sqlite3.Connection, run: int, span: SpanState) -> int:
    """The place of a span, from 0, among its siblings of its kind and name, failures first."""
    own = f"(SELECT {TROUBLE} FROM spans s WHERE s.run = ? AND s.number = ?)"  # noqa: S608
    statement = (
        "SELECT count(*) FROM spans s INDEXED BY spans_by_parent WHERE s.run = ? AND s.parent_number = ?"  # noqa: S608
        f" AND s.kind = ? AND s.name = ? AND ({TROUBLE}, s.number) < ({own}, ?)"
    )
    values = (run, span.parent_number, span.kind, span.name, run, span.number, span.number)
    [[rank]] = connection.execute(statement, values)
    return int(rank)


def rank_of_group(connection: sqlite3.Connection, run: int, span: SpanState) -> int:
    """The place, from 0, of the group of a span among the groups that its siblings are folded into."""
    statement = (
        "SELECT count(*) FROM (SELECT min(number) AS first FROM spans INDEXED BY spans_by_parent WHERE run = ?"  # noqa: S608
        f" AND parent_number = ? GROUP BY kind, name, {FOLDED}) WHERE first < (SELECT min(number) FROM spans"
        f" INDEXED BY spans_by_parent WHERE run = ? AND parent_number = ? AND kind = ? AND name = ? AND {FOLDED} ="
        " CASE WHEN ? IN ('turn', 'exec') THEN ? ELSE -1 END)"
    )
    values = (run, span.parent_number, run, span.parent_number, span.kind, span.name, span.kind, span.number)
    [[rank]] = connection.execute(statement, values)
    return int(rank)


def rank_of_kind(connection: sqlite3.Connection, run: int, number: int, kinds: Sequence[str]) -> Rank:
    """Where a span stands among all spans of some kinds."""
    marks = ", ".join("?" * len(kinds))
    statement = f"SELECT coalesce(sum(number <= ?), 0), count(*) FROM spans WHERE run = ? AND kind IN ({marks})"  # noqa: S608
    [[place, total]] = connection.execute(statement, (number, run, *kinds))
    return Rank(place=place, total=total)


def models_of(connection: sqlite3.Connection, run: int) -> list[str]:
    """The models that a run called, by name."""
    rows = connection.execute(
        "SELECT DISTINCT model FROM spans WHERE run = ? AND kind = 'model' ORDER BY model", (run,)
    )
    return [name for (name,) in rows if name]
