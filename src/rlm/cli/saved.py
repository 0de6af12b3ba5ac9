"""What the commands for sessions and skills share: how a moment is shown, and how a loss is agreed to."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def day(at: float) -> str:
    """A moment, in seconds since the epoch, in local time to the minute."""
    try:
        return datetime.fromtimestamp(at).astimezone().isoformat(" ", "minutes")[:16]
    except (ValueError, OverflowError, OSError):  # no moment that a calendar has
        return "at an unknown time"


@contextmanager
def traces_shown() -> Iterator[None]:
    """Write the traceback that an error has as its note before the error itself: it is no hint."""
    from rlm.cli.console import say
    from rlm.core.exceptions import RLMError
    from rlm.core.plain import plain

    try:
        yield
    except RLMError as error:
        for note in getattr(error, "__notes__", ()):
            say(plain(note))
        raise


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the user agrees; `yes` says so without asking.

    Raises:
        ConfigError: there is nobody to ask.
    """
    import typer

    from rlm.core.exceptions import ConfigError

    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("there is nobody to ask\nsay --yes if it may be lost")
    return typer.confirm(question, err=True)
