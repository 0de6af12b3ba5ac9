"""Checks names that a caller gives before they are written into code."""

from __future__ import annotations

import keyword
import unicodedata

from rlm.core.exceptions import ToolError


def checked_identifier(name: str, what: str) -> str:
    """A name that Python takes for a variable, in its normal form.

    Raises:
        ToolError: it is none.
    """
    normal = unicodedata.normalize("NFKC", name)
    if not normal.isidentifier() or keyword.iskeyword(normal) or normal == "__debug__":
        raise ToolError(f"{what} {name[:80]!r} is no name that Python takes for a variable.")
    return normal
