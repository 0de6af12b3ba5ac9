"""Checks names that a caller gives before they are written into code."""

from __future__ import annotations

import keyword
import unicodedata

from rlm.core.exceptions import ToolError


def checked_identifier(name: str, what: str) -> str:
    """Return a name of a variable in the normal form that Python uses.

    Raises:
        ToolError: Python doesn't take it for a variable.
    """
    normal = unicodedata.normalize("NFKC", name)
    if not normal.isidentifier() or keyword.iskeyword(normal) or normal == "__debug__":
        raise ToolError(f"{what} {name[:80]!r} can't name a variable in Python.")
    return normal
