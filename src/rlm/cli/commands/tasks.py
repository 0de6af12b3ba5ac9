"""`rlm tasks`: do a list of tasks, each in a run of its own, and look at how one stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

from rlm.cli.options import LogDir, ModelOptions, Overrides, SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.cli.signals import Signals
    from rlm.jobs.tasks.planning import ListPlan
    from rlm.jobs.tasks.running import ListRun
    from rlm.jobs.tasks.values import TaskListResult, TaskOutcome
    from rlm.sinks.progress import TaskLines

File: TypeAlias = Annotated[str, Argument(metavar="FILE", help="The task list, TOML or JSON.")]
AsJson: TypeAlias = Annotated[bool, Option("--json", help="As JSON, with whole answers.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which tasks of a list are done, and how."""

    file: File
    resume: Annotated[
        bool, Option("--resume", help="Go on with the last run of this list: do what did not complete, or has changed.")
    ] = False
    only: Annotated[str, Option("--only", metavar="ID,ID", help="Do these tasks alone.")] = ""
    stop_on_error: Annotated[bool, Option("--stop-on-error", help="Begin nothing more once a task has failed.")] = False
    concurrency: Annotated[
        int | None, Option("--concurrency", metavar="N", min=1, help="Tasks in progress at one time. [default: 4]")
    ] = None
    log_dir: LogDir = None
    as_json: AsJson = False
    quiet: Annotated[bool, Option("--quiet", "-q", help="Nothing on stderr but errors.")] = False


def run(given: ListOptions, models: ModelOptions, sandbox: SandboxOptions) -> int:
    """Do the tasks of FILE: each in a run of its own with a fresh conversation, as soon as those it needs completed.

    What became of each task goes to stdout, one line each. Exits 0 if all completed, 3 if a cap of a budget kept one
    from that, 1 if anything else did.
    """
    from rlm.cli.signals import Signals

    with Signals() as received:
        return received.exit_code_of(lambda: _done(given, Overrides.of(models, sandbox), received))


def check(file: File) -> int:
    """Check a task list, and run nothing: every fault is named at once, with its place."""
    import os

    from rlm.cli.console import counted, say, write_out
    from rlm.core.config.files import read_config_file
    from rlm.core.config.trust import TrustRecord
    from rlm.jobs.tasks.reading import check_task_file
    from rlm.jobs.tasks.trusting import asked_of_tasks

    content = read_config_file(Path(file))
    listed = check_task_file(content)
    write_out(f"{file}: {counted(len(listed.tasks.tasks), 'task')}, and nothing is wrong with them\n")
    asked = asked_of_tasks(content, os.environ)
    if asked and not TrustRecord.of(os.environ).holds(content):
        say(f"it needs your trust for {', '.join(map(str, asked))}: rlm trust {file}")
    return 0


def status(
    name: Annotated[str, Argument(metavar="LIST", help="The id of a list, the beginning of one, or last.")] = "last",
    log_dir: LogDir = None,
    as_json: AsJson = False,
) -> int:
    """Show how the tasks of a list stand, or what became of them."""
    from rlm.cli.console import write_out
    from rlm.core.config import Config
    from rlm.jobs.tasks.reporting import as_json as to_json
    from rlm.jobs.tasks.reporting import lines_of, outcomes_of
    from rlm.trajectory.places import log_folder
    from rlm.trajectory.task_lists import find_list, past_of

    config = Config.load(overrides={} if log_dir is None else {"log_dir": log_dir}).config
    past = past_of(find_list(log_folder(config.log_dir), name))
    outcomes = outcomes_of(past)
    if as_json:
        write_out(to_json(past.id, past.state, outcomes) + "\n")
        return 0
    head = f"task list {past.id}: {past.state}" + (f", from {past.start.source}" if past.start.source else "")
    write_out("\n".join((head, *lines_of(outcomes))) + "\n")
    return 0


def _done(given: ListOptions, overrides: Overrides, received: Signals) -> int:
    from rlm.cli.console import say
    from rlm.jobs.tasks.doing import do_list
    from rlm.runtime.models import BackendPool

    plan = _plan(given, overrides)
    begun: list[ListRun] = []

    def land() -> bool:
        for run in begun:
            say("cancelling; a second signal ends it at once")
            run.cancel()
        return bool(begun)

    result = received.run(do_list(plan, BackendPool(), _sinks(given), begun.append), land)
    _show(result, given)
    return received.exit_code if received.received else _exit_code(result)


def _plan(given: ListOptions, overrides: Overrides) -> ListPlan:
    from dataclasses import replace

    import msgspec

    from rlm.cli.console import say, warn
    from rlm.jobs.tasks.doing import plan_of
    from rlm.jobs.tasks.reading import read_task_list

    if given.log_dir is not None:
        overrides.values["log_dir"] = given.log_dir
    loaded, listed = overrides.load(), read_task_list(Path(given.file))
    changes: dict[str, object] = {} if given.concurrency is None else {"concurrency": given.concurrency}
    if given.stop_on_error:
        changes["stop_on_error"] = True
    listed = replace(listed, tasks=msgspec.structs.replace(listed.tasks, **changes))
    only = [name.strip() for name in given.only.split(",") if name.strip()]
    plan = plan_of(listed, loaded.config, only=only, resume=given.resume)
    if not given.quiet:
        for warning in loaded.warnings:
            warn(warning)
        for note in plan.notes:
            say(note)
        if plan.done:
            say(f"{len(plan.done)} of {len(plan.digests)} tasks are done already")
    return plan


def _sinks(given: ListOptions) -> list[TaskLines]:
    import sys

    from rlm.sinks.progress import TaskLines

    return [] if given.quiet else [TaskLines(sys.stderr)]


def _show(result: TaskListResult, given: ListOptions) -> None:
    from rlm.cli.console import say, write_out
    from rlm.jobs.tasks.reporting import as_json, lines_of, total_line

    state = "cancelled" if result.is_cancelled else "completed" if result.success else "failed"
    if given.as_json:
        write_out(as_json(result.id, state, result.outcomes) + "\n")
    else:
        write_out("\n".join(lines_of(result.outcomes)) + "\n")
    if not given.quiet:
        say(f"task list {result.id[:12]} {state}: {total_line(result)}")
        if not result.success:
            say(f"rlm tasks run {given.file} --resume goes on with it")


def _exit_code(result: TaskListResult) -> int:
    if result.success:
        return 0
    return 3 if _all_at_limits(result.outcomes) else 1


def _all_at_limits(outcomes: Iterable[TaskOutcome]) -> bool:
    failed = [each for each in outcomes if each.state == "failed"]
    return bool(failed) and all(each.limit for each in failed)
