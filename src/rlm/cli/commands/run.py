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
    from collections.abc import Callable, Coroutine

    from rlm.cli.signals import Signals
    from rlm.cli.watching import Watch
    from rlm.core.config import Config
    from rlm.core.outcome import RLMResult
    from rlm.runtime.request import Request
    from rlm.runtime.rlm import RLM

FORMATS = ("text", "json", "stream-json")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions(ContextOptions):
    """The question, and the data it is about."""

    prompt: Annotated[str, Argument(metavar="PROMPT", help="The question or task; - reads it from stdin.")]
    image: Annotated[
        list[str] | None,
        Option("--image", metavar="FILE", help="An image that the model sees beside the prompt; repeatable."),
    ] = None


def run(
    given: PromptOptions,
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
    from rlm.cli.signals import Signals

    config = _settled(Overrides.of(models, budget, sandbox, place), output)
    with Signals() as received:
        return received.exit_code_of(lambda: _answered(_request(given, config, output), output, received))


def _answered(request: Request, output: OutputOptions, received: Signals) -> int:
    return answered(request.config, output, received, lambda rlm: rlm.complete(request))


def _request(given: PromptOptions, config: Config, output: OutputOptions) -> Request:
    from rlm.cli.inputs import read_context, read_prompt, read_schema
    from rlm.runtime.inputs import read_images
    from rlm.runtime.request import Request

    schema, prompt = read_schema(output.output_schema), read_prompt(given.prompt)
    return Request(
        prompt=prompt,
        images=read_images(map(Path, given.image or ())),
        context=read_context(given, stdin_taken=given.prompt == "-"),
        output_type=schema,
        config=config,
    )


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


def answered(
    config: Config, output: OutputOptions, received: Signals, work: Callable[[RLM], Coroutine[Any, Any, RLMResult]]
) -> int:
    """Do the work of one run, watched; show what it came to, and return the exit code."""
    from rlm.cli.watching import Watch
    from rlm.runtime.rlm import RLM

    watch = Watch(output)
    with RLM(config=config, sinks=watch.sinks) as rlm:
        watch.attach(rlm)
        with watch:
            result = received.run(work(rlm), watch.land)
        return _finish(result, watch, output, received)


def _finish(result: RLMResult, watch: Watch, output: OutputOptions, received: Signals) -> int:
    """Write the answer of a run, say how it ended, and return the exit code."""
    from rlm.cli.outcome import FAILED, explain, print_answer, result_line
    from rlm.cli.watching import BROKEN_PIPE_CODE

    is_written = True
    if watch.stream is None:
        is_written = print_answer(result, as_json=output.output_format == "json")
    else:
        watch.stream.write_encoded(result_line(result))
    signal_code = received.exit_code if received.received else BROKEN_PIPE_CODE
    code = explain(result, signal_code=signal_code, brief=not watch.is_shown)
    return code if is_written else code or FAILED
