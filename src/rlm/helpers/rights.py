"""The rights of a caller of helpers: to read and write (the default), to change a git repository, to push, and to write
the labels that stand for masked secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from rlm.core.exceptions import ConfigError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

Right: TypeAlias = Literal["read", "write", "git", "push", "labels"]

ALL: tuple[Right, ...] = get_args(Right)
OWN: tuple[Right, ...] = ("read", "write", "git", "push")
"""The rights of the user's own code: every operation."""
DEFAULT: tuple[Right, ...] = ("read", "write")

_WHAT = {
    "read": "reading files",
    "write": "changing files",
    "git": "changing the git repository",
    "push": "pushing to a remote",
    "labels": "writing labels of masked secrets",
}


def checked(rights: Iterable[Right]) -> frozenset[Right]:
    """The rights as a set.

    Raises:
        ConfigError: one of them is unknown.
    """
    given = frozenset(rights)
    if wrong := given - {*ALL}:
        raise ConfigError(f"rights: there is no {min(wrong)!r}; give a list of: {', '.join(ALL)}.")
    return given


def require(rights: AbstractSet[Right], needed: Right, operation: str) -> None:
    """Check that the right to an operation is granted.

    Raises:
        ToolError: it isn't; the message names the right.
    """
    if needed not in rights:
        raise ToolError(f"{operation}: {_WHAT[needed]} is not allowed here (helper_rights has no {needed!r}).")
