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

AUTO = "auto"
"""The limit of time that is predicted."""
FORMATS = ("text", "json", "stream-json")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions(ContextOptions):
    """The question, and the data it is about."""

    prompt: Annotated[str, Argument(metavar="PROMPT", help="The question or task; - reads it from stdin.")]
    image: Annotated[
        list[str] | None,
        Option("--image", metavar="FILE", help="An image that the model sees beside the prompt; repeatable."),
    ] = None
    go_on: Annotated[
        bool,
        Option(
            "--continue",
            "-c",
            help="Ask after the answer of this project's last run: same data, variables, conversation and settings.",
        ),
    ] = False
    dry_run: Annotated[
        bool, Option("--dry-run", help="Say how the data is read, what would be sent and may be spent; call no model.")
    ] = False


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

    overrides = Overrides.of(models, budget, sandbox, place)
    if given.go_on:
        return _continued(given, overrides, output)
    is_predicted = overrides.values.get("timeout_s") == AUTO
    if is_predicted:
        del overrides.values["timeout_s"]
    config = _settled(overrides, output)

    def asked() -> int:
        request = _request(given, config, output)
        request = _in_predicted_time(request, quiet=output.quiet) if is_predicted else request
        return _foreseen(request, output, received) if given.dry_run else _answered(request, output, received)

    with Signals() as received:
        return received.exit_code_of(asked)


def _continued(given: PromptOptions, overrides: Overrides, output: OutputOptions) -> int:
    """Go on with the last run of the project, after its last turn."""
    from rlm.cli.inputs import read_context, read_prompt, read_schema
    from rlm.cli.signals import Signals
    from rlm.core.config import Config
    from rlm.core.exceptions import ConfigError
    from rlm.runtime.resume import How

    check_format(output)
    if given.dry_run:
        raise ConfigError("--dry-run can't be given with --continue")
    if given.image:
        raise ConfigError("--image can't be given with --continue: the run has the images that it had")
    log_dir = overrides.values.get("log_dir")
    present = Config.load(overrides={} if log_dir is None else {"log_dir": log_dir}).config
    with Signals() as received:

        def asked_on() -> int:
            prompt = read_prompt(given.prompt)
            how = How(
                context=read_context(given, stdin_taken=given.prompt == "-") if given.file else None,
                output_type=read_schema(output.output_schema),
                overrides=overrides.values,
            )
            return answered(present, output, received, lambda rlm: rlm.afork("last", addition=prompt, **how))

        return received.exit_code_of(asked_on)


def _foreseen(request: Request, output: OutputOptions, received: Signals) -> int:
    """Show what a run would be, and return the exit code."""
    from rlm.cli.console import write_out
    from rlm.cli.foreseen import as_json, as_text
    from rlm.runtime.rlm import RLM

    with RLM(config=request.config) as rlm:
        found = received.run(rlm.forecast(request))
    write_out(as_text(found) if output.output_format == "text" else as_json(found))
    return 0


def _answered(request: Request, output: OutputOptions, received: Signals) -> int:
    return answered(request.config, output, received, lambda rlm: rlm.complete(request))


def _request(given: PromptOptions, config: Config, output: OutputOptions) -> Request:
    from rlm.cli.inputs import read_context, read_prompt, read_schema
    from rlm.runtime.images import read_images
    from rlm.runtime.request import Request

    schema, prompt = read_schema(output.output_schema), read_prompt(given.prompt)
    return Request(
        prompt=prompt,
        images=read_images(map(Path, given.image or ())),
        context=read_context(given, stdin_taken=given.prompt == "-"),
        output_type=schema,
        config=config,
    )


def _in_predicted_time(request: Request, *, quiet: bool) -> Request:
    """The request with a limit of time that comes from runs like it, which is said with its reason."""
    from dataclasses import replace

    from rlm.cli.console import say
    from rlm.core.contexts.context import Context
    from rlm.runtime.predicted_time import predicted_time

    assert isinstance(request.context, Context)
    found = predicted_time(request.config, request.context.size_bytes)
    if not quiet:
        say(f"time: {found.reason}")
    return replace(request, config=found.within(request.config))


def _settled(overrides: Overrides, output: OutputOptions) -> Config:
    """The configuration, with a model named; warnings go to stderr."""
    from rlm.cli.console import say, warn

    check_format(output)
    loaded = overrides.load()
    if not output.quiet:
        for warning in loaded.warnings:
            warn(warning)
        if loaded.config.model is None and (found := _default_model()):
            say(f"no model is set: using {found} (choose another with --model)")
    return loaded.config


def check_format(output: OutputOptions) -> None:
    """Check the name of the output format, and the place of the answer, before anything is paid for.

    Raises:
        ConfigError: it isn't one of `FORMATS`, or no file can be written there.
    """
    import os

    from rlm.core.exceptions import ConfigError

    if output.out is not None:
        out = Path(output.out)
        if out.is_dir() or not os.access(out.absolute().parent, os.W_OK | os.X_OK):
            raise ConfigError(f"--out {output.out}: no file can be written there")

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
    if watch.stream is not None:
        watch.stream.write_encoded(result_line(result))
    if watch.stream is None or output.out is not None:
        is_written = print_answer(result, as_json=output.output_format == "json", out=output.out)
    signal_code = received.exit_code if received.received else BROKEN_PIPE_CODE
    code = explain(result, signal_code=signal_code, brief=not watch.is_shown)
    return code if is_written else code or FAILED
