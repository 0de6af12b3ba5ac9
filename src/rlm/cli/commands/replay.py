"""`rlm replay`: run the cells of a record once more, at no cost, and report what comes out differently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from typer import Option

from rlm.cli.commands.logs import RunName  # noqa: TC001 (Typer reads it at run time)
from rlm.cli.options import ContextOptions, LogDir, Overrides, PlaceOptions, SandboxOptions

if TYPE_CHECKING:
    from rlm.cli.signals import Signals
    from rlm.core.replay.serving import Difference, ReplayReport
    from rlm.runtime.resume import Again


def replay(
    context: ContextOptions,
    sandbox: SandboxOptions,
    run: RunName = "last",
    log_dir: LogDir = None,
    allowed_paths: Annotated[
        list[str] | None, Option("--allowed-path", metavar="PATH", help="A file or folder that the run worked in.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="The report as JSON, with whole texts.")] = False,
) -> int:
    """Run the cells of a run once more, in any sandbox, and report each difference.

    No model and no tool is called: their answers come from the record. Exit code 1 where anything differs.
    """
    from rlm.cli import signals
    from rlm.cli.console import complain, write_out
    from rlm.cli.inputs import read_context
    from rlm.runtime.resume import Again

    with signals.Signals() as received:
        try:
            given = read_context(context, stdin_taken=False) if context.file else None
            overrides = Overrides.of(sandbox, PlaceOptions(allowed_paths=allowed_paths)).values
            again = Again(run=run, context=given, overrides=overrides, on_divergence="report")
            report = _replayed(again, log_dir, received)
        except signals.Interrupted:
            complain("interrupted")
            return received.exit_code
    write_out(_as_json(report) if as_json else as_text(report))
    return 1 if report.differences else 0


def _replayed(again: Again, log_dir: str | None, received: Signals) -> ReplayReport:
    from rlm.core.config import Config
    from rlm.runtime.rlm import RLM

    config = Config.load(overrides={} if log_dir is None else {"log_dir": log_dir}).config
    with RLM(config=config) as rlm:
        return received.run(rlm.areplay(again))


def _as_json(report: ReplayReport) -> str:
    import msgspec

    facts = {"cells": report.cells, "served": report.served, "masked": report.masked}
    differences = [msgspec.to_builtins(each) for each in report.differences]
    return json.dumps({**facts, "differences": differences}, indent=2) + "\n"


def as_text(report: ReplayReport) -> str:
    """A line for each difference, and one that counts them."""
    from rlm.cli.console import counted

    lines = [_line(each) for each in report.differences]
    if report.differences and report.masked:
        lines.append("Texts in this record are masked and the originals are gone: that alone makes differences.")
    verdict = counted(len(report.differences), "difference") if report.differences else "no difference"
    done = f"{counted(report.cells, 'cell')}, {counted(report.served, 'answer')} from the record"
    return "\n".join([*lines, f"{done}: {verdict}"]) + "\n"


def _line(difference: Difference) -> str:
    from rlm.core.replay.cursor import at_difference

    depth = f", depth {difference.depth}" if difference.depth else ""
    cell = f", cell {difference.cell}" if difference.cell else ""
    before, after = at_difference(difference.before, difference.after)
    return f"turn {difference.turn}{cell}{depth}: {difference.what}: recorded {before}, now {after}"
