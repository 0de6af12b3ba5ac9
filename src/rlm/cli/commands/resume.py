"""`rlm resume`, `rlm fork`: go on with a run, from where it was cut off or from a turn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from rlm.cli.options import (
    BudgetOptions,
    ContextOptions,
    ModelOptions,
    OutputOptions,
    Overrides,
    PlaceOptions,
    SandboxOptions,
)

if TYPE_CHECKING:
    from rlm.cli.signals import Signals
    from rlm.runtime.resume import Again


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(ContextOptions):
    """Which run to go on with, and what its record can't supply."""

    run: Annotated[str, Argument(metavar="RUN", help="An id, the beginning of one, last, or the path of a record.")]
    on_divergence: Annotated[
        str,
        Option("--on-divergence", metavar="NAME", help="If cells do something other than recorded: stop or continue."),
    ] = "stop"
    redo_unfinished: Annotated[
        bool,
        Option("--redo-unfinished", help="Call tools again that may change things and were called but never answered."),
    ] = False
    log_dir: Annotated[str | None, Option("--log-dir", metavar="DIR", help="The folder of the records.")] = None
    session: Annotated[
        str | None, Option("--session", metavar="NAME", help="The session that the run went on with, if it did.")
    ] = None
    allowed_paths: Annotated[
        list[str] | None,
        Option("--allowed-path", metavar="PATH", help="A file or folder that the run worked in; repeatable."),
    ] = None

    @property
    def places(self) -> PlaceOptions:
        """The settings that no record may decide."""
        return PlaceOptions(session=self.session, allowed_paths=self.allowed_paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOptions(RunOptions):
    """From where to go another way, and with which hint."""

    turn: Annotated[int, Option("--turn", "-t", metavar="N", help="The last turn to take from the run; 0 takes none.")]
    prompt_addition: Annotated[
        str, Option("--prompt-addition", "-p", metavar="TEXT", help="What the model is told before it goes on.")
    ] = ""


def resume(
    given: RunOptions, models: ModelOptions, budget: BudgetOptions, sandbox: SandboxOptions, output: OutputOptions
) -> int:
    """Go on with a run that was cut off, failed or reached a limit.

    Its cells run again; what its record has of the model, sub-calls and tools is not called or paid for again. It
    becomes a new run with a record of its own, under the settings that it had; options given here take their place.
    """
    return _taken_up(given, Overrides.of(models, budget, sandbox, given.places), output)


def fork(
    given: ForkOptions, models: ModelOptions, budget: BudgetOptions, sandbox: SandboxOptions, output: OutputOptions
) -> int:
    """Go another way from a turn of a run: with a hint, another model, higher caps.

    What the record has up to that turn is served from it; all after it is live.
    """
    return _taken_up(given, Overrides.of(models, budget, sandbox, given.places), output)


def _taken_up(given: RunOptions, overrides: Overrides, output: OutputOptions) -> int:
    from rlm.cli import signals
    from rlm.cli.commands.run import check_format
    from rlm.cli.console import complain

    check_format(output)
    with signals.Signals() as received:
        try:
            return _answered(_again(given, overrides, output), given, output, received)
        except signals.Interrupted:
            complain("interrupted")
            return received.exit_code


def _again(given: RunOptions, overrides: Overrides, output: OutputOptions) -> Again:
    from rlm.cli.inputs import read_context, read_schema
    from rlm.core.exceptions import ConfigError
    from rlm.runtime.resume import Again

    if given.on_divergence not in ("stop", "continue"):
        raise ConfigError(f"--on-divergence: expected stop or continue, got {given.on_divergence!r}")
    return Again(
        run=given.run,
        context=read_context(given, stdin_taken=False) if given.file else None,
        output_type=read_schema(output.output_schema),
        overrides=overrides.values,
        on_divergence="continue" if given.on_divergence == "continue" else "stop",
        redo_unfinished=given.redo_unfinished,
        turn=given.turn if isinstance(given, ForkOptions) else None,
        addition=given.prompt_addition if isinstance(given, ForkOptions) else "",
    )


def _answered(again: Again, given: RunOptions, output: OutputOptions, received: Signals) -> int:
    from rlm.cli.commands.run import finish
    from rlm.cli.watching import Watch
    from rlm.core.config import Config
    from rlm.runtime.rlm import RLM

    watch = Watch(output)
    config = Config.load(overrides={} if given.log_dir is None else {"log_dir": given.log_dir}).config
    with RLM(config=config, sinks=watch.sinks) as rlm:
        watch.attach(rlm)
        with watch:
            result = received.run(rlm.aresume(again), watch.land)
        return finish(result, watch, output, received)
