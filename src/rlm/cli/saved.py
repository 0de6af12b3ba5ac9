"""What the commands for sessions and skills share: the traceback of saved code that failed, and the question
before a deletion."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def traces_shown() -> Iterator[None]:
    """Write the traceback that an error carries as a note, before the error itself is shown."""
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
        ConfigError: stdin isn't a terminal, so nobody can be asked.
    """
    import typer

    from rlm.core.exceptions import ConfigError

    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(
            "nobody can be asked, since stdin isn't a terminal\nsay --yes to delete it without being asked"
        )
    return typer.confirm(question, err=True)
