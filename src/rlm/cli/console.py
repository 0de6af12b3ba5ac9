"""The two streams of a command: stdout for the answer, stderr for everything said about it.

An error is one line `error: what`, then `hint: what next` for each further line of its message.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def say(text: str) -> None:
    """Write one line about the work to stderr."""
    _write_error(text + "\n")


def complain(message: str) -> None:
    """Write an error and its hints to stderr."""
    what, *hints = message.strip().splitlines() or ["failed without a message"]
    say(f"error: {_safe(what)}")
    for hint in hints:
        say(f"hint: {_safe(hint.strip())}")


def warn(message: str) -> None:
    """Write a warning and its hints to stderr."""
    what, *hints = message.splitlines()
    say(f"warning: {_safe(what)}")
    for hint in hints:
        say(f"hint: {_safe(hint)}")


def answer(text: str) -> None:
    """Write text to stdout as it is, with a newline at its end; on a terminal, without anything that steers it."""
    if not text:
        return
    write_out(text if text.endswith("\n") else text + "\n")


def write_out(text: str) -> None:
    """Write a piece of text to stdout at once."""
    if sys.stdout.isatty():
        text = _safe(text)
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Let a reader of stdout that has gone be no error; what is written afterwards goes nowhere."""
    try:
        yield
    except BrokenPipeError:
        drop_stdout()


def drop_stdout() -> None:
    """Point stdout nowhere, so that nothing fails on it any more, at exit neither."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _safe(text: str) -> str:
    from rlm.trajectory.plain import plain

    return plain(text)


def _write_error(text: str) -> None:
    try:
        sys.stderr.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stderr.buffer.flush()
    except OSError:  # nobody listens: what is said about the work is not worth losing it
        return
