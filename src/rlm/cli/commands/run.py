"""`rlm run`: answer a prompt over a context."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from rlm.cli.watching import Watch
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.types import Image, RLMResult

FORMATS = ("text", "json", "stream-json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(ContextOptions):
    """The question, and the data it is about."""

    prompt: Annotated[str, Argument(metavar="PROMPT", help="The question or task; - reads it from stdin.")]
    image: Annotated[
        list[str] | None,
        Option("--image", metavar="FILE", help="An image that the model sees beside the prompt; repeatable."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run, ready to begin."""

    prompt: str
    context: Context
    images: tuple[Image, ...]
    schema: dict[str, Any] | None
    config: Config
    output: OutputOptions


def run(
    ask: Ask,
    models: ModelOptions,
    budget: BudgetOptions,
    sandbox: SandboxOptions,
    place: PlaceOptions,
    output: OutputOptions,
) -> int:
    """Answer PROMPT over files or piped data.

    The answer goes to stdout, and nothing else does. Settings that aren't given come from RLM_* variables, rlm.toml and
    the user's configuration.
    """
    from rlm.cli import signals
    from rlm.cli.console import complain
    from rlm.cli.inputs import read_context, read_prompt, read_schema
    from rlm.runtime.inputs import read_images

    config = _settled(Overrides.of(models, budget, sandbox, place), output)
    with signals.Signals() as received:
        try:
            schema, prompt = read_schema(output.output_schema), read_prompt(ask.prompt)
            images = read_images(map(Path, ask.image or ()))
            context = read_context(ask, stdin_taken=ask.prompt == "-")
            job = Job(prompt=prompt, context=context, images=images, schema=schema, config=config, output=output)
            return _answered(job, received)
        except signals.Interrupted:
            complain("interrupted")
            return received.exit_code


def _settled(overrides: Overrides, output: OutputOptions) -> Config:
    """The configuration, with a model named; warnings go to stderr."""
    from rlm.cli.console import say, warn

    check_format(output)
    loaded = overrides.load()
    if not output.quiet:
        for warning in loaded.warnings:
            warn(warning)
        if loaded.config.model is None and (found := _default_model()):
            say(f"no model is set: using {found} (--model names another)")
    return loaded.config


def check_format(output: OutputOptions) -> None:
    """Check the name of the output format.

    Raises:
        ConfigError: it isn't one of `FORMATS`.
    """
    from rlm.core.exceptions import ConfigError

    if output.output_format not in FORMATS:
        raise ConfigError(f"--output-format: expected one of {', '.join(FORMATS)}, got {output.output_format!r}")


def _default_model() -> str | None:
    import os

    from rlm.backends import default_model

    return default_model(os.environ)


def _answered(job: Job, received: Signals) -> int:
    """Make the run, and show what became of it."""
    from rlm.cli.watching import Watch
    from rlm.runtime.rlm import RLM

    watch = Watch(job.output)
    with RLM(config=job.config, sinks=watch.sinks) as rlm:
        watch.attach(rlm)
        with watch:
            asked = rlm.acompletion(job.prompt, job.context, output_type=job.schema, images=job.images)
            result = received.run(asked, watch.land)
        return finish(result, watch, job.output, received)


def finish(result: RLMResult, watch: Watch, output: OutputOptions, received: Signals) -> int:
    """Write the answer of a run, say how it ended, and return the exit code."""
    from rlm.cli.outcome import explain, print_answer, result_line
    from rlm.cli.watching import BROKEN_PIPE_CODE

    if watch.stream is None:
        print_answer(result, as_json=output.output_format == "json")
    else:
        watch.stream.write_encoded(result_line(result))
    signal_code = received.exit_code if received.received else BROKEN_PIPE_CODE
    return explain(result, signal_code=signal_code, brief=not watch.is_shown)
