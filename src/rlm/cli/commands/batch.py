"""`rlm batch`: one run for each row of a file of questions."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from rlm.cli.options import Cap, ModelOptions, Overrides, SandboxOptions

if TYPE_CHECKING:
    from rlm.cli.signals import Signals
    from rlm.core.config import Config
    from rlm.core.fields import Unit
    from rlm.jobs.batch.batch import BatchCaps, BatchReport
    from rlm.jobs.batch.planning import BatchRequest

FAILURES_SHOWN = 20
REASON_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOptions:
    """The questions, and the data that they are about."""

    questions: Annotated[str, Argument(metavar="QUESTIONS", help="A .jsonl or .csv file with a question in each row.")]
    prompt: Annotated[
        str | None,
        Option("--prompt", "-p", metavar="TEXT", help="The prompt of every row, with {column}s in braces."),
    ] = None
    file: Annotated[
        list[str] | None,
        Option("--file", "-f", metavar="PATH", help="Data that every question is about; repeatable."),
    ] = None
    id_column: Annotated[
        str, Option("--id-column", metavar="NAME", help="The column with the id of a row, else its line.")
    ] = "id"
    prompt_column: Annotated[
        str, Option("--prompt-column", metavar="NAME", help="The column with the prompt, without --prompt.")
    ] = "prompt"
    context_column: Annotated[
        str, Option("--context-column", metavar="NAME", help="The column with the data itself.")
    ] = "context"
    files_column: Annotated[
        str,
        Option("--files-column", metavar="NAME", help="The column with paths or patterns, beside the questions."),
    ] = "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """Where the answers go, and what is asked at all."""

    out: Annotated[str, Option("--out", metavar="DIR", help="The folder of the batch.")]
    format: Annotated[
        str | None, Option("--format", metavar="NAME", help="Of the outputs: jsonl, csv or parquet. [default: jsonl]")
    ] = None
    output_schema: Annotated[
        str | None, Option("--output-schema", metavar="FILE", help="A JSON schema that every answer must fit.")
    ] = None
    resume: Annotated[bool, Option("--resume", help="Go on with the batch in that folder.")] = False
    retry_failed: Annotated[bool, Option("--retry-failed", help="With --resume: ask again what came to no answer.")] = (
        False
    )
    concurrency: Annotated[int, Option("--concurrency", metavar="N", help="Questions at one time.")] = 16
    engine: Annotated[
        str, Option("--engine", metavar="NAME", help="local (this process), or ray (the workers of a cluster).")
    ] = "local"
    address: Annotated[
        str | None, Option("--address", metavar="HOST:PORT", help="With ray: the cluster. [default: this machine]")
    ] = None
    quiet: Annotated[bool, Option("--quiet", "-q", help="Nothing on stderr but errors.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBudgetOptions:
    """The caps over the whole batch."""

    token_budget: Annotated[Cap, Option("--token-budget", metavar="N", help="Tokens of the whole batch.")] = None
    cost_budget_usd: Annotated[
        Cap, Option("--cost-budget-usd", "--cost-budget", metavar="USD", help="US dollars for the whole batch.")
    ] = None
    timeout_s: Annotated[
        Cap, Option("--timeout-s", "--timeout", metavar="S", help="Seconds for the whole batch, all in all.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBudgetOptions:
    """The caps of each run; `none` lifts one that may be lifted."""

    run_token_budget: Annotated[Cap, Option("--run-token-budget", metavar="N", help="Tokens of one run.")] = None
    run_cost_budget_usd: Annotated[
        Cap, Option("--run-cost-budget-usd", metavar="USD", help="US dollars for one run.")
    ] = None
    run_timeout_s: Annotated[Cap, Option("--run-timeout-s", metavar="S", help="Seconds for one run.")] = None
    max_turns: Annotated[Cap, Option("--max-turns", metavar="N", help="Model calls of one completion.")] = None
    max_depth: Annotated[Cap, Option("--max-depth", metavar="N", help="Levels of children.")] = None
    subcall_budget: Annotated[Cap, Option("--subcall-budget", metavar="N", help="Sub-calls of one run.")] = None
    log_dir: Annotated[
        str | None, Option("--log-dir", metavar="DIR", help="Where the records go. [default: runs/ in the folder]")
    ] = None


def batch(
    given: QuestionOptions,
    answers: AnswerOptions,
    caps: BatchBudgetOptions,
    run: RunBudgetOptions,
    models: ModelOptions,
    sandbox: SandboxOptions,
) -> int:
    """Ask each row of QUESTIONS by a run of its own, and write the answers into one file.

    Whatever ends it, --resume goes on with exactly what is left. The path of the answers goes to stdout.
    """
    from rlm.cli.signals import Signals

    config = _config(Overrides.of(models, sandbox), run, quiet=answers.quiet)
    request = _request(given, answers, caps)
    with Signals() as received:
        return received.exit_code_of(lambda: _asked(request, config, received, quiet=answers.quiet))


def _config(overrides: Overrides, run: RunBudgetOptions, *, quiet: bool) -> Config:
    import os

    import msgspec

    from rlm.backends import default_model
    from rlm.cli.console import say, warn
    from rlm.core.config import Config

    caps = {each.name.removeprefix("run_"): getattr(run, each.name) for each in fields(run)}
    values = {name: value for name, value in caps.items() if value is not None}
    loaded = Config.load(overrides={**overrides.values, **values})
    for warning in () if quiet else loaded.warnings:
        warn(warning)
    if loaded.config.model is not None or (found := default_model(os.environ)) is None:
        return loaded.config
    if not quiet:
        say(f"no model is set: using {found} (--model names another)")
    return msgspec.structs.replace(loaded.config, model=found)


def _request(given: QuestionOptions, answers: AnswerOptions, caps: BatchBudgetOptions) -> BatchRequest:
    from rlm.cli.inputs import read_schema
    from rlm.jobs.batch.planning import BatchRequest
    from rlm.jobs.batch.questions import Columns

    return BatchRequest(
        questions=Path(given.questions),
        out=Path(answers.out),
        prompt=given.prompt,
        columns=Columns(
            id=given.id_column, prompt=given.prompt_column, context=given.context_column, files=given.files_column
        ),
        files=tuple(map(Path, given.file or ())),
        output_schema=read_schema(answers.output_schema),
        format=answers.format,
        caps=_caps(caps),
        concurrency=answers.concurrency,
        engine=answers.engine,
        address=answers.address,
        resume=answers.resume,
        retry_failed=answers.retry_failed,
    )


def _caps(given: BatchBudgetOptions) -> BatchCaps:
    from rlm.jobs.batch.batch import BatchCaps

    tokens, timeout_s = (
        _amount("token-budget", given.token_budget, "count"),
        _amount("timeout-s", given.timeout_s, "seconds"),
    )
    return BatchCaps(
        token_budget=None if tokens is None else int(tokens),
        cost_budget_usd=_amount("cost-budget-usd", given.cost_budget_usd, None),
        timeout_s=timeout_s,
    )


def _amount(option: str, text: str | None, unit: Unit | None) -> float | None:
    from rlm.core.exceptions import ConfigError
    from rlm.core.fields import amount

    if text is None or text.strip().lower() == "none":
        return None
    try:
        value = float(text) if unit is None else amount(text, unit)
    except ValueError as error:
        raise ConfigError(f"--{option}: {error}") from error
    if not 0 < value < float("inf"):
        raise ConfigError(f"--{option}: expected more than 0, got {text}")
    return value


def _asked(request: BatchRequest, config: Config, received: Signals, *, quiet: bool) -> int:
    from rlm.cli.batch_progress import Progress
    from rlm.cli.console import say
    from rlm.cli.signals import Interrupted
    from rlm.jobs.batch.planning import run_batch

    progress = None if quiet else Progress(sys.stderr)
    try:
        report = received.run(run_batch(request, config, watch=progress))
    except Interrupted:
        if progress is not None:
            progress.end()
        say(f"stopped; --resume goes on with the batch in {request.out}")
        return received.exit_code
    if progress is not None:
        progress.end()
    return _told(report, request, quiet=quiet)


def _told(report: BatchReport, request: BatchRequest, *, quiet: bool) -> int:
    """Say what a batch came to, and return the exit code."""
    from rlm.cli.batch_progress import summary
    from rlm.cli.console import complain, counted, say, write_out
    from rlm.core.plain import one_line

    if not quiet:
        say(summary(report.status))
    if report.status.failed:
        complain(f"{counted(report.status.failed, 'question')} came to no answer\n--resume --retry-failed asks again")
        for failure in report.failures[:FAILURES_SHOWN]:
            say(f"  {one_line(failure.id, 60)}: {failure.status}, {one_line(failure.reason, REASON_CHARS)}")
        if (more := report.status.failed - FAILURES_SHOWN) > 0:
            say(f"  and {more:,} more: {report.outputs or request.out / 'journal.jsonl'}")
    if report.stopped is not None:
        left = counted(report.status.left, "question")
        complain(f"{report.stopped}\n{left} left: --resume goes on with the batch in {request.out}")
        return report.stopped.exit_code
    write_out(f"{report.outputs}\n")
    return 1 if report.status.failed else 0
