"""What is shown of a cell to whoever wrote it, a model or a client: what it printed, its error, and what became of the
variables; the same words for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.dialects import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rlm.core.types import ExecResult

_NAMES_SHOWN = 12


def output_text(result: ExecResult, limit_chars: int, mask: Callable[[str], str]) -> str:
    """What the cell printed, masked, then cut in the middle to about `limit_chars`; the mark counts all it printed."""
    text = mask(result.output)  # before it is cut: half a secret is not recognised
    return shorten(text, limit_chars, len(text) + result.output_chars - len(result.output)).rstrip("\n")


def error_text(result: ExecResult) -> str:
    """The error of the cell; empty without one. One that was stopped says where it was, and why it was stopped."""
    error = result.error
    if error is None:
        return ""
    short = f"{error.kind}: {error.message}"
    if result.status in ("interrupted", "killed") or not error.traceback:
        return short
    traceback = error.traceback.rstrip("\n")
    return f"{traceback}\n{short}" if result.status == "timeout" else traceback


def variables_text(result: ExecResult) -> str:
    """What became of the variables, where that is in question; else empty."""
    if result.state_reset:
        return "[The REPL was restarted: every variable is gone but `context`.]"
    if result.status not in ("timeout", "interrupted"):
        return ""
    own = f", those too that this cell had set: {some(result.changed)}" if result.changed else ""
    return f"[All variables are kept{own}.]"


def silence_text(result: ExecResult) -> str:
    """What is shown of a cell that printed nothing and had no error."""
    return f"(The cell printed nothing.{f' It set {some(result.changed)}.' if result.changed else ''})"


def some(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
