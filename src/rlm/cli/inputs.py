"""What a user gave on the command line and on stdin, made into a prompt, a context and a schema."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.cli.options import ContextOptions
    from rlm.core.contexts.context import Context

STDIN = "-"


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
    """The context: the files given, else what is piped in, else an empty one.

    Raises:
        ConfigError: a file is missing, unreadable, or binary without being asked for.
    """
    from rlm.core.contexts.context import Context
    from rlm.files.texts import Reading
    from rlm.runtime.inputs import prepare

    reading = Reading(encoding=options.encoding, binary=options.include_binary)
    names = options.file or []
    if STDIN in names or (not names and not stdin_taken and is_piped()):
        if stdin_taken:
            raise ConfigError("stdin can't be both the prompt (or the code) and the context\nput one of them in a file")
        if len(names) > 1:
            raise ConfigError("-f - can't be combined with other files")
        if sys.stdin is None:
            raise ConfigError("-f - reads stdin, which is closed")
        with _with_options():
            context = prepare(sys.stdin.buffer, reading)
        return context if context.size_bytes or names else Context.empty()
    if "" in names:
        raise ConfigError("-f was given an empty name\nan unset variable, perhaps; -f . takes the whole folder")
    paths = [Path(name) for name in names]
    with _with_options():
        return prepare(paths if len(paths) > 1 else next(iter(paths), None), reading)


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
