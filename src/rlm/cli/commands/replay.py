"""`rlm replay`: run the cells of a record once more, at no cost, and report what comes out differently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from typer import Option

from rlm.cli.commands.resume import RunOptions  # noqa: TC001 (Typer reads it at run time)
from rlm.cli.options import (  # noqa: TC001 (Typer reads them at run time)
    BudgetOptions,
    ModelOptions,
    OutputOptions,
    SandboxOptions,
)

if TYPE_CHECKING:
    from rlm.cli.signals import Signals
    from rlm.core.replay.serving import Difference, ReplayReport
    from rlm.runtime.resume import Again

FORMATS = ("text", "json")


def replay(
    given: RunOptions,
    models: ModelOptions,
    budget: BudgetOptions,
    sandbox: SandboxOptions,
    output: OutputOptions,
    as_json: Annotated[bool, Option("--json", help="The report as JSON, with whole texts: as -o json.")] = False,
) -> int:
    """Run the cells of a run once more, in any sandbox, and report each difference.

    No model and no tool is called: their answers come from the record. Exit code 1 where anything differs.
    """
    from rlm.cli.console import write_out
    from rlm.cli.signals import Signals

    _check_format(output)
    with Signals() as received:

        def replayed() -> int:
            report = _replayed(given, given.again(output, models, budget, sandbox), output, received)
            write_out(_as_json(report) if as_json or output.output_format == "json" else as_text(report))
            return 1 if report.differences else 0

        return received.exit_code_of(replayed)


def _check_format(output: OutputOptions) -> None:
    from rlm.core.exceptions import ConfigError

    if output.output_format not in FORMATS:
        raise ConfigError(f"--output-format: a replay is reported as text or json, not {output.output_format!r}")


def _replayed(given: RunOptions, again: Again, output: OutputOptions, received: Signals) -> ReplayReport:
    from rlm.cli.watching import Watch
    from rlm.runtime.rlm import RLM

    watch = Watch(output)
    with RLM(config=given.config(), sinks=watch.sinks) as rlm, watch:
        return received.run(rlm.areplay(given.run, **again))


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
