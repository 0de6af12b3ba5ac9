"""What a caller of helpers may do in a workspace: read, write, change a git repository, push. Default: read alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from rlm.core.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Right: TypeAlias = Literal["read", "write", "git", "push"]

READ: Right = "read"
ALL: tuple[Right, ...] = ("read", "write", "git", "push")

_WHAT = {
    "read": "reading files",
    "write": "changing files",
    "git": "changing the git repository",
    "push": "pushing to a remote",
}


def require(rights: AbstractSet[Right], needed: Right, operation: str) -> None:
    """Let `operation` pass if the right to it is granted.

    Raises:
        ToolError: it is not; names the right.
    """
    if needed not in rights:
        raise ToolError(f"{operation}: {_WHAT[needed]} is not allowed here (helper_rights has no {needed!r}).")
