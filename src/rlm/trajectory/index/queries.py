"""The SQL of the questions put to an index. Values are always parameters; only names from this package are part of a
statement's text."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, cast

from rlm.trajectory.index.database import RUN_COLUMNS, SPAN_COLUMNS
from rlm.trajectory.index.rows import Burndown, EventRow, Page, Problem, SpanGroup, Timeline
from rlm.trajectory.states import KINDS, SPAN_STATUSES, RunState, SpanState, known_cost

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from rlm.trajectory.index.rows import RunQuery

ALL = -1
"""The LIMIT of SQL that lets every row through."""
ID_CHARS = 16
_RUN_COLUMNS = ", ".join(RUN_COLUMNS)
_PARENT_ID = "(SELECT id FROM spans p WHERE p.run = s.run AND p.number = s.parent_number)"
SPAN_FIELDS = ", ".join([*(f"s.{name}" for name in SPAN_COLUMNS), _PARENT_ID])
"""What a `SpanState` is made of, where the table is called `s`."""
_DURATION = "coalesce(ended_after_s, max(0, last_at - started_at))"
_COST = "CASE WHEN unpriced = 0 AND model_calls > 0 THEN spent_usd END"
_KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
_STATUS_CODES = {status: code for code, status in enumerate((*SPAN_STATUSES, "short"))}
_ORDERS = {
    "started": "started_at",
    "duration": _DURATION,
    "tokens": "input_tokens + output_tokens",
    "cost": _COST,
    "turns": "turns",
    "calls": "model_calls",
    "errors": "errors",
    "model": "model",
    "status": "status",
}
FOLDED = "CASE WHEN kind IN ('turn', 'exec') THEN number ELSE -1 END"
"""What siblings are grouped by beside kind and name: turns and cells stand alone, all others fold."""
_TURN_CALLS = (  # the turns first, then the calls in each: else all spans of the run are looked through
    "FROM spans u INDEXED BY spans_by_parent CROSS JOIN spans s INDEXED BY spans_by_parent"
    " ON s.run = u.run AND s.parent_number = u.number"
    " WHERE u.run = ? AND u.parent_number = ? AND u.kind = 'turn' AND s.kind = 'model' AND s.name = 'turn'"
)


def select_runs(connection: sqlite3.Connection, query: RunQuery) -> Page[RunState]:
    """The runs that fit a query, a page of them."""
    conditions, values = _conditions(query)
    where = f"FROM runs WHERE {' AND '.join(conditions) or '1'}"
    [[total]] = connection.execute(f"SELECT count(*) {where}", values)
    direction = "ASC" if query.ascending else "DESC"
    order = f"ORDER BY {_ORDERS[query.order]} {direction} NULLS LAST, started_at DESC, id"
    statement = f"SELECT {_RUN_COLUMNS} {where} {order} LIMIT ? OFFSET ?"
    rows = connection.execute(statement, (*values, query.limit or ALL, query.offset))
    return Page(tuple(RunState(*row) for row in rows), total)


def runs_named(connection: sqlite3.Connection, beginning: str, limit: int) -> list[RunState]:
    """The runs whose ids begin with these characters, the last written first; with an empty beginning, all runs."""
    statement = f"SELECT {_RUN_COLUMNS} FROM runs WHERE substr(id, 1, ?) = ? ORDER BY mtime_ns DESC LIMIT ?"  # noqa: S608
    rows = connection.execute(statement, (len(beginning), beginning, limit))
    return [RunState(*row) for row in rows]


def _conditions(query: RunQuery) -> tuple[list[str], list[Any]]:
    given: list[tuple[str, Any]] = [
        ("instr(lower(model), ?)", query.model.lower() or None),
        ("environment = ?", query.environment or None),
        ("started_at >= ?", query.since),
        ("started_at < ?", query.until),
        (f"{_COST} >= ?", query.min_cost_usd),
        (f"{_COST} <= ?", query.max_cost_usd),
        ("input_tokens + output_tokens >= ?", query.min_tokens),
        ("input_tokens + output_tokens <= ?", query.max_tokens),
        (f"{_DURATION} >= ?", query.min_duration_s),
        (f"{_DURATION} <= ?", query.max_duration_s),
    ]
    conditions = [condition for condition, value in given if value is not None]
    values = [value for _, value in given if value is not None]
    if query.status:
        conditions.append(f"status IN ({_marks(query.status)})")
        values.extend(query.status)
    if query.text:
        texts = ("id", "prompt", "context", "first_cell", "response", "error")
        conditions.append("(" + " OR ".join(f"instr(fold({text}), ?)" for text in texts) + ")")
        values.extend([query.text.casefold()] * len(texts))
    return conditions, values


def select_spans(
    connection: sqlite3.Connection, run: int, conditions: str, values: Sequence[Any], window: tuple[int, int]
) -> Page[SpanState]:
    """The spans of a run that fit the conditions, in order. Conditions call the table `s`; `window`: limit, offset."""
    by = "INDEXED BY spans_by_parent" if conditions.startswith("s.parent_number = ?") else ""
    where = f"FROM spans s {by} WHERE s.run = ? AND {conditions}"
    [[total]] = connection.execute(f"SELECT count(*) {where}", (run, *values))
    statement = f"SELECT {SPAN_FIELDS} {where} ORDER BY s.number LIMIT ? OFFSET ?"
    rows = connection.execute(statement, (run, *values, *window))
    return Page(tuple(SpanState(*row) for row in rows), total)


def select_groups(connection: sqlite3.Connection, run: int, parent: int, window: tuple[int, int]) -> Page[SpanGroup]:
    """The children of a span with siblings of one kind and name folded, in order."""
    fold = f"FROM spans INDEXED BY spans_by_parent WHERE run = ? AND parent_number = ? GROUP BY kind, name, {FOLDED}"
    [[total]] = connection.execute(f"SELECT count(*) FROM (SELECT 1 {fold})", (run, parent))  # noqa: S608
    sums = "count(*), min(started_at), max(ended_at), sum(ended_at IS NULL), sum(total_tokens), sum(total_spent_usd)"
    more = "sum(total_unpriced), sum(total_calls), sum(total_errors), min(number)"
    statement = f"SELECT {sums}, {more} {fold} ORDER BY min(number) LIMIT ? OFFSET ?"
    groups = connection.execute(statement, (run, parent, *window)).fetchall()
    return Page(tuple(_group(connection, run, group) for group in groups), total)


def _group(connection: sqlite3.Connection, run: int, group: tuple[Any, ...]) -> SpanGroup:
    count, started_at, ended_at, still_open, tokens, spent_usd, unpriced, calls, errors, number = group
    first = select_spans(connection, run, "s.number = ?", (number,), (1, 0)).rows[0]
    return SpanGroup(
        kind=first.kind,
        name=first.name,
        count=count,
        first=first,
        started_at=started_at,
        ended_at=None if still_open else ended_at,
        total_tokens=tokens,
        total_cost_usd=known_cost(spent_usd, unpriced, calls),
        total_calls=calls,
        total_errors=errors,
    )


def select_events(
    connection: sqlite3.Connection, run: int, conditions: str, values: Sequence[Any], limit: int
) -> list[EventRow]:
    """Where those events of a run are that fit the conditions, in order."""
    statement = (
        "SELECT e.seq, e.at, (SELECT id FROM spans s WHERE s.run = e.run AND s.number = e.span), t.name, e.offset,"  # noqa: S608
        f" e.length FROM events e JOIN types t USING (type) WHERE e.run = ? AND {conditions} ORDER BY e.seq LIMIT ?"
    )
    rows = connection.execute(statement, (run, *values, limit))
    return [EventRow(seq=r[0], at=r[1], span=r[2], type=r[3], offset=r[4], length=r[5]) for r in rows]


def select_asked_before(connection: sqlite3.Connection, run: int, completion: int, call: int) -> int:
    """The first event of the last model call for a turn of a completion before the span of that number; -1 if there
    is none."""
    statement = f"SELECT coalesce(max(s.first_seq), -1) {_TURN_CALLS} AND s.number < ?"
    [[seq]] = connection.execute(statement, (run, completion, call))
    return int(seq)


def select_conversation(
    connection: sqlite3.Connection, run: int, completion: int, window: tuple[int, int]
) -> list[EventRow]:
    """Where the events of the conversation of a completion are, from one seq to another, in order."""
    replies = f"SELECT s.number {_TURN_CALLS} AND s.status = 'ok'"
    own = "e.type IN (SELECT type FROM types WHERE name IN ('message', 'compaction', 'record.left'))"
    reply = (
        "e.type IN (SELECT type FROM types WHERE name = 'model.end')"  # asked of the event, before its type is joined
    )
    conditions = f"e.seq BETWEEN ? AND ? AND (e.span = ? AND {own} OR {reply} AND e.span IN ({replies}))"
    return select_events(connection, run, conditions, (*window, completion, run, completion), ALL)


def select_problems(connection: sqlite3.Connection, run: int, severity: str, window: tuple[int, int]) -> Page[Problem]:
    """The failures and warnings of a run, in order; only those of one severity unless it is empty."""
    where = "FROM problems p WHERE p.run = ? AND ? IN ('', p.severity)"
    [[total]] = connection.execute(f"SELECT count(*) {where}", (run, severity))
    statement = (
        "SELECT p.seq, e.at, (SELECT id FROM spans s WHERE s.run = p.run AND s.number = p.span), t.name, p.severity,"
        " p.message FROM problems p JOIN events e ON e.run = p.run AND e.seq = p.seq JOIN types t USING (type)"
        " WHERE p.run = ? AND ? IN ('', p.severity) ORDER BY p.seq, p.severity LIMIT ? OFFSET ?"
    )
    rows = connection.execute(statement, (run, severity, *window))
    return Page(tuple(_problem(row) for row in rows), total)


def _problem(row: tuple[Any, ...]) -> Problem:
    seq, at, span, kind, severity, message = row
    return Problem(seq=seq, at=at, span=span, type=kind, severity=severity, message=message)


def select_timeline(connection: sqlite3.Connection, run: int, origin: float, end: float) -> Timeline:
    """Every span of a run, as columns."""
    labels: dict[str, int] = {}
    line = Timeline(
        started_at=array("d"),
        ended_at=array("d"),
        parent=array("l"),
        level=array("l"),
        kind=array("B"),
        status=array("B"),
        tokens=array("q"),
        cost_usd=array("d"),
        label=array("l"),
        labels=(),
        ordinal=array("q"),
        origin=origin,
        ids=b"",
    )
    ids: list[str] = []
    rows = connection.execute(
        "SELECT started_at, ended_at, parent_number, level, kind, CASE WHEN status = 'ok' AND kind = 'completion' AND"
        " detail NOT IN ('', 'completed') THEN 'short' ELSE status END, total_tokens, CASE WHEN total_calls > 0 AND"
        " total_unpriced = 0 THEN total_spent_usd END, name, ordinal, id FROM spans WHERE run = ? ORDER BY number",
        (run,),
    )
    for started, ended, parent, level, kind, status, tokens, cost_usd, name, ordinal, span in rows:
        line.started_at.append(started - origin)
        line.ended_at.append((end if ended is None else ended) - origin)
        line.parent.append(parent)
        line.level.append(level)
        line.kind.append(_KIND_CODES[kind])
        line.status.append(_STATUS_CODES[status])
        line.tokens.append(tokens)
        line.cost_usd.append(math.nan if cost_usd is None else cost_usd)
        line.label.append(labels.setdefault(name, len(labels)))
        line.ordinal.append(ordinal)
        ids.append(span[:ID_CHARS].ljust(ID_CHARS))
    return _named(line, labels, ids)


def _named(line: Timeline, labels: Iterable[str], ids: list[str]) -> Timeline:
    from dataclasses import replace

    return replace(line, labels=tuple(labels), ids="".join(ids).encode("ascii", "replace"))


def select_burndown(connection: sqlite3.Connection, run: int, row: RunState) -> Burndown:
    """What a run had spent after each call, as columns."""
    burn = Burndown(
        at=array("d"),
        tokens=array("q"),
        cost_usd=array("d"),
        model_calls=array("l"),
        subcalls=array("l"),
        tool_calls=array("l"),
        origin=row.started_at,
        priced=(row.cost_usd is not None or not row.model_calls)
        and (row.served_cost_usd is not None or not row.served_calls),
        caps=row.budget,
    )
    columns = (burn.at, burn.tokens, burn.cost_usd, burn.model_calls, burn.subcalls, burn.tool_calls)
    for point in _spent(connection, run, row):
        for column, value in zip(columns, point, strict=True):
            cast("array[Any]", column).append(value)
    return burn


def _spent(connection: sqlite3.Connection, run: int, row: RunState) -> Iterator[tuple[float, ...]]:
    """The moment and the sums after each call; the first point is what an earlier run had paid."""
    tokens, cost_usd, calls = row.served_tokens, row.served_cost_usd or 0.0, row.served_calls
    subcalls = tools = 0
    if calls:
        yield 0.0, tokens, cost_usd, calls, subcalls, tools
    ended = connection.execute(
        "SELECT coalesce(ended_at, started_at) AS at, kind, name, input_tokens + output_tokens, spent_usd, calls"
        " FROM spans WHERE run = ? AND (kind IN ('model', 'tool') OR kind = 'completion' AND parent_number >= 0)"
        " ORDER BY at, number",
        (run,),
    )
    for at, kind, name, span_tokens, span_usd, paid in ended:
        tokens, cost_usd, calls = tokens + span_tokens, cost_usd + span_usd, calls + paid
        tools += kind == "tool"
        subcalls += kind == "completion" or name == "llm_query"
        yield at - row.started_at, tokens, cost_usd, calls, subcalls, tools


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
