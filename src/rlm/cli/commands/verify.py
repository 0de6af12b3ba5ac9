"""`rlm verify`: whether records are as they were written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from rlm.cli.options import LogDir  # noqa: TC001 (Typer reads it at run time)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.trajectory.receipts import Verification

WHICH = "A run or a task list: its id, the beginning of one, last, or the path of a record; or the folder of a batch."


def verify(
    run: Annotated[str, Argument(metavar="RUN", help=WHICH)] = "last",
    last: Annotated[
        int | None, Option("--last", metavar="N", min=1, help="Check the last so many runs instead of RUN.")
    ] = None,
    report: Annotated[
        str | None, Option("--report", metavar="FILE", help="Write what was found to this Markdown file too.")
    ] = None,
    log_dir: LogDir = None,
    as_json: Annotated[bool, Option("--json", help="As JSON: an object, or a list where there are more.")] = False,
) -> int:
    """Check that no line, blob or artifact of a record was altered, removed, added or moved.

    Of a task list, its own record and those of all its runs are checked; of a batch, the records of its last runs.
    Exits 0 if everything is as it was written, as far as it went; 1 if not, and names the first line that isn't; 2 if
    that can't be told: there are no receipts, or the key is another. A run that had RLM_RECEIPT_KEY set is checked with
    the same key.
    """
    from rlm.cli.console import write_out
    from rlm.core.exceptions import ConfigError
    from rlm.core.whole_files import replace_file
    from rlm.jobs.tasks.receipts import checked, report_of

    named = list(_named(run, last, log_dir))
    found = [(name, checked(path)) for name, path in named]
    if report is not None:
        try:
            replace_file(Path(report), report_of(found).encode("utf-8", "replace"), mode=0o644)
        except OSError as error:
            raise ConfigError(f"--report {report}: {error.strerror}") from error
    if as_json:
        rows = [asdict(each) for _, each in found]
        write_out(json.dumps(rows if len(named) != 1 else rows[0], indent=2) + "\n")
    else:
        write_out("".join(_sentence(name, each) for name, each in found))
    codes = {each.exit_code for _, each in found}
    return 1 if 1 in codes else max(codes, default=0)


def _named(run: str, last: int | None, log_dir: str | None) -> Iterator[tuple[str, Path]]:
    """The records that are meant, each with the name of what it is of.

    Raises:
        ConfigError: the name fits none, or several.
    """
    from rlm.cli.commands.logs import folder, record_of
    from rlm.core.exceptions import ConfigError
    from rlm.jobs.batch.folder import BatchFolder
    from rlm.trajectory.batches import last_entries
    from rlm.trajectory.reader import list_runs, no_runs
    from rlm.trajectory.task_lists import find_list, records_of

    if last is not None:
        runs = list_runs(folder(log_dir))[:last]
        if not runs:
            raise no_runs(folder(log_dir))
        yield from ((f"run {each.run_id[:12]}", each.path) for each in runs)
        return
    if (batch := BatchFolder(Path(run))).exists:
        records = Path(batch.read().log_dir)
        ended = [each for each in last_entries(batch.journal) if each.run]
        yield from ((f"question {each.id}", records / f"{each.run}.jsonl") for each in ended)
        return
    try:
        found = record_of(run, log_dir)
    except ConfigError:
        try:
            record = Path(run) if run.endswith(".tasks.jsonl") else find_list(folder(log_dir), run)
        except ConfigError:
            record = None
        if record is None or run == "last":
            raise
        yield from records_of(record)
    else:
        yield f"run {found.run_id[:12]}", found.path


def _sentence(name: str, found: Verification) -> str:
    from rlm.core.plain import one_line

    scheme = f" ({found.scheme})" if found.scheme else ""
    return f"{one_line(name, 100)}: {one_line(found.message, 300)}{scheme}\n"
