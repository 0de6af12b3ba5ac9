"""`rlm logs`: look at the records of runs. Models and guests wrote what is in them, so it is shown as plain text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

from rlm.cli.options import LogDir  # noqa: TC001 (Typer reads it at run time)

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.trajectory.folds import Summary
    from rlm.trajectory.reader import Trajectory

RunName: TypeAlias = Annotated[str, Argument(metavar="RUN", help="An id, the beginning of one, or last.")]

_COLUMNS = "{:<8}  {:<16}  {:<9}  {:<24}  {:>5}  {:>11}  {:>9}  {:>8}  {}"
_HEADS = ("id", "when", "status", "model", "turns", "tokens", "cost", "time", "prompt")


def list_logs(
    log_dir: LogDir = None,
    count: Annotated[int, Option("--count", "-n", metavar="N", help="How many; 0 is all.")] = 20,
    as_json: Annotated[bool, Option("--json", help="One JSON array.")] = False,
) -> int:
    """List the runs, the newest first."""
    from rlm.cli.console import say, write_out
    from rlm.trajectory.reader import list_runs

    folder = _folder(log_dir)
    runs = list_runs(folder)
    rows = [_row(run) for run in (runs[:count] if count > 0 else runs)]
    if as_json:
        write_out(json.dumps([facts(summary, state) for summary, state in rows], indent=2) + "\n")
        return 0
    if not rows:
        say(f"there are no runs in {folder}")
        return 0
    lines = [_COLUMNS.format(*_HEADS), *(_COLUMNS.format(*_cells(summary, state)) for summary, state in rows)]
    write_out("".join(line.rstrip() + "\n" for line in lines))
    if len(runs) > len(rows):
        say(f"{len(runs) - len(rows)} older runs: -n 0 lists all")
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
    from rlm.trajectory.reader import find_run

    found = find_run(_folder(log_dir), run)
    summary, state = _row(found)
    if as_json:
        write_out(as_document(found, facts(summary, state)))
    else:
        for text in render(found, summary, state, full=full):
            write_out(text + "\n")
    if found.skipped:
        say(f"warning: {found.skipped} lines of {found.path} are no events and were passed over")
    return 0


def tail(
    run: RunName = "last",
    log_dir: LogDir = None,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on as the run does, until it ends.")] = False,
    count: Annotated[int, Option("--count", "-n", metavar="N", help="The last N steps.")] = 20,
) -> int:
    """Show the last steps of a run, and with -f the next ones as they happen."""
    from collections import deque

    from rlm.cli.console import write_out
    from rlm.sinks.progress import step_text
    from rlm.trajectory.reader import find_run

    found = find_run(_folder(log_dir), run)
    started_at: float | None = None
    held: deque[str] = deque(maxlen=max(count, 0))
    for event in found.follow() if follow else found:
        started_at = event.at if started_at is None else started_at
        if text := step_text(event):
            line = f"{event.at - started_at:7.1f} s  {text}\n"
            held.append(line) if not follow else write_out(line)
    write_out("".join(held))
    return 0


def _folder(log_dir: str | None) -> Path:
    from pathlib import Path

    from rlm.core.config import Config

    return Path(Config.load().config.log_dir if log_dir is None else log_dir)


def _row(run: Trajectory) -> tuple[Summary, str]:
    from rlm.trajectory.folds import summarize

    summary = summarize(run)
    summary.run_id = run.run_id
    return summary, summary.state(running=run.is_running())


def facts(summary: Summary, state: str) -> dict[str, object]:
    """A run's summary as JSON."""
    return {
        "run_id": summary.run_id,
        "started_at": summary.started_at,
        "status": state,
        "model": summary.model,
        "turns": summary.turns,
        "tokens": summary.tokens,
        "cost_usd": summary.cost_usd,
        "duration_s": round(summary.duration_s, 3),
        "prompt": summary.prompt,
    }


def _cells(summary: Summary, state: str) -> tuple[str, ...]:
    from rlm.cli.run_tree import dollars, when
    from rlm.trajectory.plain import one_line

    return (
        summary.run_id[:8],
        when(summary.started_at),
        one_line(state, 9),
        one_line(summary.model, 24),
        str(summary.turns),
        f"{summary.tokens:,}",
        dollars(summary.cost_usd),
        f"{summary.duration_s:.1f} s",
        one_line(summary.prompt, 60),
    )
