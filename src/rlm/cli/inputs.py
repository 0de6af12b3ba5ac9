"""What a user gave on the command line and on stdin, made into a prompt, a context and a schema."""

from __future__ import annotations

import os
import select
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from rlm.cli.options import ContextOptions
    from rlm.core.contexts.context import Context

STDIN = "-"
PATIENCE_S = 2.0
"""After so long without piped data the user is told what is waited for."""


def read_prompt(prompt: str) -> str:
    """The prompt itself, or the text of stdin for `-`.

    Raises:
        ConfigError: the prompt is empty.
    """
    if prompt == STDIN:
        prompt = read_stdin().strip()
        if not prompt:
            raise ConfigError("the prompt was to come from stdin, which is empty")
    if not prompt.strip():
        raise ConfigError("the prompt is empty")
    return prompt


def read_context(options: ContextOptions, *, stdin_taken: bool) -> Context:
    """The context: the files given and what is piped in, else an empty one.

    Raises:
        ConfigError: a file is missing, unreadable, or binary without being asked for.
    """
    from rlm.core.contexts.context import Context
    from rlm.files.texts import Reading
    from rlm.runtime.inputs import prepare

    reading = Reading(
        encoding=options.encoding,
        binary=options.include_binary,
        include=tuple(options.include or ()),
        exclude=tuple(options.exclude or ()),
        pages=options.pages,
    )
    names = options.file or []
    if STDIN in names and stdin_taken:
        raise ConfigError("stdin can't be both the prompt (or the code) and the context\nput one of them in a file")
    if STDIN in names and sys.stdin is None:
        raise ConfigError("-f - reads stdin, which is closed")
    if "" in names:
        raise ConfigError("-f was given an empty name\nan unset variable, perhaps; -f . takes the whole folder")
    sources: list[Any] = [Path(name) for name in dict.fromkeys(names) if name != STDIN]
    if STDIN in names or (not stdin_taken and is_piped() and _has_piped(beside=bool(sources))):
        sources.append(sys.stdin.buffer)
    with _with_options():
        context = prepare(sources if len(sources) > 1 else next(iter(sources), None), reading)
    return context if context.size_bytes or names else Context.empty()


def _has_piped(*, beside: bool) -> bool:
    """Whether anything is piped in; beside files the end of a pipe is no data, and who waits for it is told so."""
    if not beside:
        return True
    if not select.select([sys.stdin.buffer], [], [], PATIENCE_S)[0]:
        from rlm.cli.console import say

        say("waiting for what is piped in beside -f; < /dev/null leaves it out")
    return bool(cast("BufferedReader", sys.stdin.buffer).peek(1))


@contextmanager
def _with_options() -> Iterator[None]:
    """Name the options that would take a binary file, where one is refused."""
    from rlm.files.texts import BinaryFileError

    try:
        yield
    except BinaryFileError as error:
        what = str(error).partition("\n")[0]
        raise ConfigError(
            f"{what}\n--include-binary takes its bytes, one character for each; --encoding NAME reads it as text; "
            "rlm run --image FILE shows an image to the model"
        ) from error


def read_schema(file: str | None) -> dict[str, Any] | None:
    """The JSON schema in `file`.

    Raises:
        ConfigError: the file can't be read, or isn't a JSON object.
    """
    if file is None:
        return None
    import json

    try:
        schema = json.loads(Path(file).read_bytes())
    except OSError as error:
        raise ConfigError(f"--output-schema {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--output-schema {file}: not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"--output-schema {file}: a JSON schema has to be an object")
    return schema


def read_stdin() -> str:
    """All of stdin as text; empty if it is closed."""
    return "" if sys.stdin is None else sys.stdin.buffer.read().decode("utf-8", "replace")


def is_piped() -> bool:
    """Whether stdin is a pipe, a socket or a file; False for a terminal, for /dev/null, and if it is closed."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
