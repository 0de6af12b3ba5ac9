"""The two streams of a command: stdout for the answer, stderr for everything said about it.

An error is one line `error: what`, then `hint: what next` for each further line of its message.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_is_debugging: ContextVar[bool] = ContextVar("debugging", default=False)


class ReaderGone(Exception):
    """The reader of stdout has closed it; what is written from now on goes nowhere."""


class OutputLost(Exception):
    """stdout takes nothing, as where its disk is full; what is written from now on goes nowhere."""


def fill_streams() -> None:
    """Open /dev/null for each standard stream that this process was started without, as by `>&-`.

    Otherwise the next file to be opened would get its descriptor. `sys.stdin` stays None where stdin is missing.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def debug(*, on: bool) -> None:
    """Turn the tracebacks of errors on or off."""
    _is_debugging.set(on)


def trace(error: BaseException) -> None:
    """Write the traceback of an error to stderr, if tracebacks are on."""
    if _is_debugging.get():
        import traceback

        say(_safe("".join(traceback.format_exception(error)).rstrip()))


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


def counted(number: int, what: str) -> str:
    """A count with its noun: 1 turn, 2 turns."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def answer(text: str) -> None:
    """Write text to stdout as it is, with a newline at its end; on a terminal, without control characters."""
    if not text:
        return
    write_out(text if text.endswith("\n") else text + "\n")


def write_out(text: str) -> None:
    """Write a piece of text to stdout at once.

    Raises:
        ReaderGone: the reader of stdout has closed it.
        OutputLost: it can't be written.
    """
    if sys.stdout.isatty():
        text = _safe(text)
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        drop_stdout()
        raise ReaderGone from error
    except OSError as error:
        drop_stdout()
        raise OutputLost(f"stdout can't be written: {error.strerror}") from error


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Go on without the reader of stdout if it has gone."""
    with suppress(ReaderGone):
        yield


def drop_stdout() -> None:
    """Point stdout at /dev/null, so that nothing written to it fails any more, not even at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _safe(text: str) -> str:
    from rlm.core.plain import plain

    return plain(text)


def _write_error(text: str) -> None:
    try:
        sys.stderr.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stderr.buffer.flush()
    except OSError:  # nobody reads it, and the work must not fail over a message about it
        return
