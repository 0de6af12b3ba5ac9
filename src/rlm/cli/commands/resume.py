"""`rlm resume`, `rlm fork`: go on with a run, from where it was cut off or from a turn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

from typer import Argument, Option

from rlm.cli.commands.logs import WHICH
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
    from rlm.core.config import Config
    from rlm.runtime.resume import Again, How


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(ContextOptions):
    """Which run is taken up again, and what its record doesn't have."""

    run: Annotated[str, Argument(metavar="RUN", help=WHICH)] = "last"
    log_dir: Annotated[str | None, Option("--log-dir", metavar="DIR", help="The folder of the records.")] = None
    session: Annotated[
        str | None, Option("--session", metavar="NAME", help="The session that the run went on with, if it did.")
    ] = None
    allowed_paths: Annotated[
        list[str] | None,
        Option("--allowed-path", metavar="PATH", help="A file or folder that the run worked in; repeatable."),
    ] = None

    tables: Annotated[
        list[str] | None, Option("--table", metavar="FILE", help="A file that the run asked by SQL; repeatable.")
    ] = None

    @property
    def places(self) -> PlaceOptions:
        """The settings that no record may decide."""
        return PlaceOptions(session=self.session, allowed_paths=self.allowed_paths, tables=self.tables)

    def config(self) -> Config:
        """The present configuration, with the folder of the records."""
        from rlm.core.config import Config

        return Config.load(overrides={} if self.log_dir is None else {"log_dir": self.log_dir}).config

    def again(self, output: OutputOptions, *groups: object) -> Again:
        """What is given anew: the data, the schema, and settings from these groups of options."""
        from rlm.cli.inputs import read_context, read_schema
        from rlm.runtime.resume import Again

        return Again(
            context=read_context(self, stdin_taken=False) if self.file else None,
            output_type=read_schema(output.output_schema),
            overrides=Overrides.of(self.places, *groups).values,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions(RunOptions):
    """How the run goes on live."""

    on_divergence: Annotated[
        str,
        Option("--on-divergence", metavar="NAME", help="If cells do something other than recorded: stop or continue."),
    ] = "stop"
    redo_unfinished: Annotated[
        bool,
        Option("--redo-unfinished", help="Call tools again that may change things and were called but never answered."),
    ] = False

    def how(self, output: OutputOptions, *groups: object) -> How:
        """How the run is taken up: what is given anew, and what is done where the record is no help."""
        from rlm.runtime.resume import How

        return How(
            **self.again(output, *groups),
            on_divergence=cast("Literal['stop', 'continue']", self.on_divergence),
            redo_unfinished=self.redo_unfinished,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOptions(LiveOptions):
    """From where to go another way, and with which hint."""

    turn: Annotated[
        int | None,
        Option("--turn", "-t", metavar="N", help="The last turn to take from the run; 0 takes none. [default: all]"),
    ] = None
    prompt_addition: Annotated[
        str, Option("--prompt-addition", "-p", metavar="TEXT", help="What the model is told before it goes on.")
    ] = ""


def resume(
    given: LiveOptions, models: ModelOptions, budget: BudgetOptions, sandbox: SandboxOptions, output: OutputOptions
) -> int:
    """Go on with a run that was cut off, failed or reached a limit.

    Its cells run again; what its record has of the model, sub-calls and tools is not called or paid for again. It
    becomes a new run with a record of its own, under the settings that it had; options given here take their place.
    """
    from rlm.cli.commands.run import answered, check_format
    from rlm.cli.signals import Signals

    check_format(output)
    with Signals() as received:

        def taken_up() -> int:
            how = given.how(output, models, budget, sandbox)
            return answered(given.config(), output, received, lambda rlm: rlm.aresume(given.run, **how))

        return received.exit_code_of(taken_up)


def fork(
    given: ForkOptions, models: ModelOptions, budget: BudgetOptions, sandbox: SandboxOptions, output: OutputOptions
) -> int:
    """Go another way from a turn of a run: with a hint, another model, higher caps.

    What the record has up to that turn is served from it; all after it is live.
    """
    from rlm.cli.commands.run import answered, check_format
    from rlm.cli.signals import Signals

    check_format(output)
    with Signals() as received:

        def taken_up() -> int:
            how = given.how(output, models, budget, sandbox)
            turn, addition = given.turn, given.prompt_addition
            return answered(given.config(), output, received, lambda rlm: rlm.afork(given.run, turn, addition, **how))

        return received.exit_code_of(taken_up)
