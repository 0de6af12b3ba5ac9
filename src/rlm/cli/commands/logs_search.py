"""`rlm logs grep` and `rlm logs index`: find a text in the records, and bring their index up to date."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from rlm.cli.commands.logs import WHICH
from rlm.cli.options import All, LogDir  # noqa: TC001 (Typer reads it at run time)

if TYPE_CHECKING:
    from rlm.trajectory.search import Hit


def grep(
    text: Annotated[str, Argument(metavar="TEXT", help="Taken literally; case matters only if it has capitals.")],
    run: Annotated[str | None, Argument(metavar="RUN", help=WHICH)] = None,
    log_dir: LogDir = None,
    everywhere: All = False,
    count: Annotated[int, Option("--count", "-n", metavar="N", help="Show at most this many places.")] = 100,
    as_json: Annotated[bool, Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Find a text in the records of this project's runs, or of one; exits 1 if it isn't found.

    Where several events of a turn have the same text, the first is shown; with --json, every place.
    """
    from rlm.cli.commands.logs import folder
    from rlm.cli.console import say, write_out
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.reader import no_runs, place_of
    from rlm.trajectory.search import each_once, search

    where, name = place_of(run or "", folder(log_dir, everywhere=everywhere))
    with Index.open(where) as index:
        index.refresh()
        hits = search(index, text, name or None, limit=max(count, 1))
        is_empty = not index.runs().total
        shown = hits if as_json else list(each_once(index, hits))
    for hit in shown:
        write_out((json.dumps(asdict(hit)) if as_json else _line(hit)) + "\n")
    if is_empty:
        say(str(no_runs(where)))
    elif not hits:
        say("no record contains it" if run is None else "the record doesn't contain it")
    elif len(hits) >= count:
        say(f"only the first {len(hits)} places are shown: -n shows more")
    return 0 if hits else 1


def index(
    log_dir: LogDir = None,
    rebuild: Annotated[bool, Option("--rebuild", help="Read every record again.")] = False,
) -> int:
    """Bring the index of the records up to date, and say what is in it."""
    from rlm.cli.commands.logs import folder
    from rlm.cli.console import say, warn, write_out
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.index.rows import RunQuery
    from rlm.trajectory.reader import no_runs

    where = folder(log_dir)
    with Index.open(where) as opened:
        changed = opened.refresh(rebuild=rebuild)
        rows = opened.runs(RunQuery(limit=0)).rows
        if rows and not opened.kept:
            warn(f"the index can't be saved: {opened.note}")
    if not rows:
        say(str(no_runs(where)))
    events = sum(row.events for row in rows)
    write_out(f"{len(rows):,} runs, {events:,} events; {len(changed):,} runs were new or had changed\n")
    return 0


def _line(hit: Hit) -> str:
    from rlm.core.plain import one_line

    return f"{hit.run_id[:8]} {hit.seq:>6}  {one_line(f'{hit.type} {hit.field}', 40)}: {one_line(hit.excerpt, 120)}"
