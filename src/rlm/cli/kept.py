"""What the commands for sessions and skills share: how a moment is shown, and how a loss is agreed to."""

from __future__ import annotations

import sys
from datetime import datetime


def day(at: float) -> str:
    """A moment, in seconds since the epoch, in local time to the minute."""
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "minutes")[:16]


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
