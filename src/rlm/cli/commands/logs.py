"""`rlm logs`: look at the records of runs. Models and guests wrote what is in them, so it is shown as plain text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typer import Argument, Option

from rlm.cli.options import All, LogDir  # noqa: TC001 (Typer reads it at run time)

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.events import Event
    from rlm.core.fields import Unit
    from rlm.trajectory.index.rows import RunQuery
    from rlm.trajectory.reader import Trajectory
    from rlm.trajectory.states import RunState, SpanState

WHICH = "An id, the beginning of one, last (of this project), or a record's path."
RunName: TypeAlias = Annotated[str, Argument(metavar="RUN", help=WHICH)]

_COLUMNS = "{:<8}  {:<16}  {:<9}  {:<24}  {:>5}  {:>11}  {:>9}  {:>8}  {}"
_HEADS = ("id", "when", "status", "model", "turns", "tokens", "cost", "time", "prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are listed, and in which order."""

    status: Annotated[
        list[str] | None,
        Option("--status", metavar="NAME", help="running, crashed, completed, limit, failed or cancelled; repeatable."),
    ] = None
    model: Annotated[str, Option("--model", "-m", metavar="TEXT", help="A part of the model's name.")] = ""
    text: Annotated[str, Option("--text", metavar="TEXT", help="A part of the prompt, the answer or the error.")] = ""
    since: Annotated[
        str | None, Option("--since", metavar="WHEN", help="Started at or after: 2026-11-21, 2026-11-21T09:30, 3h, 2d.")
    ] = None
    until: Annotated[str | None, Option("--until", metavar="WHEN", help="Started before.")] = None
    min_cost: Annotated[float | None, Option("--min-cost", metavar="USD", help="Cost at least this.")] = None
    max_cost: Annotated[float | None, Option("--max-cost", metavar="USD", help="Cost at most this.")] = None
    min_tokens: Annotated[str | None, Option("--min-tokens", metavar="N", help="Used at least so many: 500k.")] = None
    min_time: Annotated[str | None, Option("--min-time", metavar="S", help="Took at least so long: 90, 5m.")] = None
    order: Annotated[
        str, Option("--order", metavar="NAME", help="started, duration, tokens, cost, turns, calls or errors.")
    ] = "started"


def list_logs(
    filters: RunFilter = RunFilter(),
    log_dir: LogDir = None,
    everywhere: All = False,
    count: Annotated[int, Option("--count", "-n", metavar="N", help="How many; 0 is all.")] = 20,
    as_json: Annotated[bool, Option("--json", help="One JSON array.")] = False,
) -> int:
    """List the runs of this project, the newest first, or in the order asked for, the greatest first."""
    from rlm.cli.console import say, write_out
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.reader import no_runs

    where = folder(log_dir, everywhere=everywhere)
    with Index.open(where) as index:
        index.refresh()
        page = index.runs(_query(filters, max(count, 0)))
        projects = {row.id: index.trajectory(row.id).path.parent.name if everywhere else "" for row in page.rows}
    if as_json:
        write_out(json.dumps([_facts(row, projects[row.id]) for row in page.rows], indent=2) + "\n")
        return 0
    if not page.rows:
        say(str(no_runs(where)) if filters == RunFilter() else f"no run in {where} matches")
        return 0
    lines = [_COLUMNS.format(*_HEADS), *(_COLUMNS.format(*_cells(row, projects[row.id])) for row in page.rows)]
    write_out("".join(line.rstrip() + "\n" for line in lines))
    if page.total > len(page.rows):
        say(f"{page.total - len(page.rows)} more runs: -n 0 lists all")
    return 0


def show(
    run: RunName = "last",
    log_dir: LogDir = None,
    full: Annotated[bool, Option("--full", help="Whole texts, however long.")] = False,
    as_json: Annotated[bool, Option("--json", help="The run and its spans as JSON.")] = False,
) -> int:
    """Show what happened in a run: turns, code, output, sub-calls, the answer."""
    from rlm.cli.console import say, write_out
    from rlm.cli.run_json import as_document
    from rlm.cli.run_tree import render
    from rlm.trajectory.span_records import span_records

    row, spans, found = find(run, log_dir)
    if as_json:
        write_out(as_document(row, span_records(spans, found)))
    else:
        for text in render(row, span_records(spans, map(found.whole, found)), full=full):
            write_out(text + "\n")
    if found.skipped:
        say(f"warning: {found.skipped} lines of {found.path} are not events and were skipped")
    return 0


def answer(run: RunName = "last", log_dir: LogDir = None) -> int:
    """Print the answer of a run again, or the best that it had."""
    from rlm.cli.citing import with_sources
    from rlm.cli.console import answer as print_text
    from rlm.cli.console import say
    from rlm.core.events import CompletionEnd
    from rlm.core.exceptions import ConfigError
    from rlm.trajectory.reader import ends_run

    found = record_of(run, log_dir)
    end = next((found.whole(event).body for event in found if ends_run(event)), None)
    if not isinstance(end, CompletionEnd) or not end.response:
        is_running = found.is_running()
        way_on = (
            "it still runs: rlm logs tail -f shows it" if is_running else f"go on with it: rlm resume {found.run_id}"
        )
        raise ConfigError(f"run {found.run_id} has no answer\n{way_on}")
    print_text(with_sources(end.response, end.sources))
    if end.status != "completed":
        say(f"the run ended as {end.status}: this is the best it had")
    return 0


def tail(
    run: RunName = "last",
    log_dir: LogDir = None,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on as the run does, until it ends.")] = False,
    count: Annotated[int, Option("--count", "-n", metavar="N", help="The last N steps.")] = 20,
) -> int:
    """Show the last steps of a run and how it stands, and with -f the next steps as they happen."""
    from collections import deque

    from rlm.cli.console import write_out
    from rlm.sinks.progress import step_text

    found = record_of(run, log_dir)
    started_at: float | None = None
    last: Event | None = None
    held: deque[str] = deque(maxlen=max(count, 0))
    for event in found.follow() if follow else found:
        started_at, last = event.at if started_at is None else started_at, event
        if text := step_text(event):
            line = f"{event.at - started_at:7.1f} s  {text}\n"
            held.append(line) if not follow else write_out(line)
    write_out("".join(held) + _standing(last, started_at or 0.0, running=found.is_running()))
    return 0


def _standing(last: Event | None, started_at: float, *, running: bool) -> str:
    """The last line: how the run ended, or that it goes on or was cut off."""
    from rlm.core.events import CompletionEnd
    from rlm.core.plain import one_line
    from rlm.trajectory.reader import ends_run

    at = 0.0 if last is None else last.at - started_at
    if last is not None and ends_run(last) and isinstance(last.body, CompletionEnd):
        said = one_line(last.body.error or last.body.limit or last.body.response, 120)
        return f"{at:7.1f} s  run {last.body.status}" + (f": {said}\n" if said else "\n")
    return f"{at:7.1f} s  still running\n" if running else f"{at:7.1f} s  cut off: the run has no end\n"


def folder(log_dir: str | None, *, everywhere: bool = False) -> Path:
    """The folder of the records: that of this project, unless another is named, or that of all projects.

    Raises:
        ConfigError: both are asked for, or there is no home for records.
    """
    from rlm.core.config import Config
    from rlm.core.exceptions import ConfigError
    from rlm.trajectory.places import all_projects, log_folder

    if everywhere and log_dir is not None:
        raise ConfigError("--all and --log-dir exclude each other")
    if everywhere:
        return all_projects()
    return log_folder(Config.load().config.log_dir if log_dir is None else log_dir)


def find(name: str, log_dir: str | None) -> tuple[RunState, tuple[SpanState, ...], Trajectory]:
    """The run that is meant: its state, those of its spans, and its record."""
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.reader import place_of

    where, run = place_of(name, folder(log_dir))
    with Index.open(where) as index:
        index.refresh()
        row = index.run(run)
        return row, index.all_spans(row.id, limit=0).rows, index.trajectory(row.id)


def record_of(name: str, log_dir: str | None) -> Trajectory:
    """The record of the run that is meant.

    Raises:
        ConfigError: no run has that name, or several have.
    """
    from rlm.trajectory.reader import find_run, place_of

    return find_run(*place_of(name, folder(log_dir)))


def _query(filters: RunFilter, limit: int) -> RunQuery:
    from rlm.cli.moments import moment
    from rlm.core.exceptions import ConfigError
    from rlm.trajectory.index.rows import ORDERS, RunQuery
    from rlm.trajectory.states import STATUSES

    for name, known in ((filters.order, ORDERS), *((status, STATUSES) for status in filters.status or ())):
        if name not in known:
            raise ConfigError(f"{name!r} is not one of {', '.join(known)}")
    return RunQuery(
        status=tuple(filters.status or ()),
        model=filters.model,
        text=filters.text,
        since=moment(filters.since),
        until=moment(filters.until),
        min_cost_usd=filters.min_cost,
        max_cost_usd=filters.max_cost,
        min_tokens=_amount("--min-tokens", filters.min_tokens, "count"),
        min_duration_s=_amount("--min-time", filters.min_time, "seconds"),
        order=filters.order,  # type: ignore[arg-type]
        limit=limit,
    )


def _amount(option: str, text: str | None, unit: Unit) -> Any:
    """The number in an option of that unit; None where it isn't given.

    Raises:
        ConfigError: it isn't one.
    """
    from rlm.core.exceptions import ConfigError
    from rlm.core.fields import amount

    try:
        return None if text is None else amount(text, unit)
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r} is not an amount of that kind: write 90, 5m, or 500k") from error


def _facts(row: RunState, project: str) -> dict[str, Any]:
    from rlm.cli.run_json import facts

    return facts(row) | ({"project": project} if project else {})


def _cells(row: RunState, project: str) -> tuple[str, ...]:
    from rlm.cli.moments import local_time
    from rlm.cli.run_tree import dollars
    from rlm.core.plain import one_line

    origin = f"({one_line(row.origin(), 40)}) " if row.origin() else ""
    place = f"[{one_line(project, 60)}] " if project else ""
    return (
        row.id[:8],
        local_time(row.started_at),
        one_line(row.status, 9),
        one_line(row.model, 24),
        str(row.turns),
        f"{row.tokens:,}",
        dollars(row.cost_usd),
        f"{row.duration_s:.1f} s",
        place + origin + one_line(row.title, 60),
    )
