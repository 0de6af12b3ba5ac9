"""`rlm exec`: run code in a sandbox, with no model and no record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from rlm.cli.options import ContextOptions, Overrides, SandboxOptions

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.types import ExecError, ExecResult

OK, FAILED = 0, 1
_HELPERS = "{} works only in folders that you allow: see --allowed-path of rlm session run and rlm run"
_MODEL = "{} needs a model: see --model of rlm session run and rlm run"
_SKILLS = "skills are there only if you name them: see --skill of rlm session run and rlm run"
_ELSEWHERE = {
    **dict.fromkeys(("fs", "code", "transform", "git"), _HELPERS),
    **dict.fromkeys(("llm_query", "llm_query_batched", "llm_map", "rlm_query", "rlm_query_batched"), _MODEL),
    "tables": "tables are there only if you name their files: see --table of rlm run",
    **dict.fromkeys(("skills", "load_skill"), _SKILLS),
}
"""How to get the names that cells have only where the user asked for them."""


def execute(
    given: ContextOptions,
    sandbox: SandboxOptions,
    script: Annotated[str | None, Argument(metavar="[SCRIPT]", help="A file of Python; - is stdin.")] = None,
    arguments: Annotated[
        list[str] | None,
        Argument(
            metavar="[ARGUMENT]...",
            help="What the script finds in `argv`, and in sys.argv where the policy lets it import sys.",
        ),
    ] = None,
    code: Annotated[
        str | None, Option("--code", "-c", metavar="CODE", help="Python to run, instead of a file.")
    ] = None,
) -> int:
    """Run Python in the sandbox, with no model.

    The variable `context` is what -f names, or what is piped in beside the code. What the code prints goes to stdout
    (of more than a million characters, the beginning and the end), and the value it gives to FINAL after that; the
    traceback of an error goes to stderr.
    """
    from rlm.cli.console import complain, warn
    from rlm.cli.inputs import read_context
    from rlm.cli.signals import Interrupted, Signals

    loaded = Overrides.of(sandbox).load()
    for warning in loaded.warnings:
        warn(warning)
    with Signals() as received:
        try:
            source, stdin_taken = read_source(script, code)
            context = read_context(given, stdin_taken=stdin_taken)
            for warning in context.warnings:
                warn(f"context: {warning}")
            argv = ["-c" if code is not None else script or "-", *(arguments or ())]
            result = received.run(_executed(source, argv, context, loaded.config))
        except Interrupted:
            complain("interrupted")
            return received.exit_code
    return explain(result, loaded.config)


def read_source(script: str | None, code: str | None) -> tuple[str, bool]:
    """The code of `script` or `--code`, else of stdin, and whether it came from stdin.

    Raises:
        ConfigError: no code was given, or it can't be read.
    """
    from rlm.cli.inputs import is_piped, read_stdin
    from rlm.core.exceptions import ConfigError

    if code is not None and script is not None:
        raise ConfigError("give a script or --code, not both")
    if code is not None:
        return code, False
    if script is None and not is_piped():
        raise ConfigError("there is no code to run\nname a file, give --code, or pipe it in")
    if script in (None, "-"):
        return read_stdin(), True
    try:
        return Path(script).read_text(encoding="utf-8"), False
    except OSError as error:
        raise ConfigError(f"{script}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{script}: not UTF-8, which Python source has to be") from error


_GIVE_ARGUMENTS = """
argv = {!r}
try:
    import sys
    sys.argv[:] = argv
except ImportError:
    pass
"""


async def _executed(source: str, argv: list[str], context: Context, config: Config) -> ExecResult:
    from rlm.cli.console import quiet_pipe, say, write_out
    from rlm.core.outcome import masked_cell
    from rlm.core.plain import plain
    from rlm.runtime.bare_repl import NO_CALLS, bare_repl
    from rlm.secrets import masker
    from rlm.sinks.progress import choice_text

    masking = masker(config.mask)
    printed = None if masking is None else masking.stream()

    def show(text: str) -> None:
        with quiet_pipe():
            write_out(text)

    def on_output(text: str) -> None:
        show(text if printed is None else printed.feed(text))

    try:
        async with bare_repl(config, context, replace(NO_CALLS, on_output=on_output)) as opened:
            if config.environment != opened.choice.environment:
                say(plain(choice_text(opened.choice.environment, opened.choice.passed_over)))
            await opened.repl.execute(_GIVE_ARGUMENTS.format(argv))
            result: ExecResult = await opened.repl.execute(source)
    finally:
        show("" if printed is None else printed.close())
    return masked_cell(result, masking)


def explain(result: ExecResult, config: Config) -> int:
    """Write the final value to stdout, say what went wrong, and return the exit code."""
    from rlm.cli.console import answer, complain, quiet_pipe, say, warn
    from rlm.core.plain import plain

    if result.output and not result.output.endswith("\n"):
        answer("\n")
    if result.output_chars > len(result.output):
        warn(
            f"the code printed {result.output_chars:,} characters; the beginning and the end were kept, and a note "
            "between them says how much is missing\nFINAL(text) gives a longer text whole"
        )
    if result.final is not None:
        with quiet_pipe():
            answer(result.final.text)
    if result.error is not None:
        say(plain(result.error.traceback or f"{result.error.kind}: {result.error.message}").rstrip())
        _say_where(result.error)
    if result.status in ("ok", "error"):
        return OK if result.error is None else FAILED
    reasons = {"timeout": f"timed out: a cell may run for {config.cell_timeout_s:g} s\nallow more with --cell-timeout"}
    complain(reasons.get(result.status, f"the code was {result.status}"))
    return FAILED


def _say_where(error: ExecError) -> None:
    """Say how to get a name that is not defined here."""
    from rlm.cli.console import say

    name = error.message.removeprefix("name '").removesuffix("' is not defined")
    if error.kind == "NameError" and name in _ELSEWHERE:
        say(f"hint: {_ELSEWHERE[name].format(name)}")
