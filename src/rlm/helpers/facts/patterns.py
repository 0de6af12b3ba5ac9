"""Patterns for names, as people write them: a name, a glob like `handle_*`, or a regular expression like `.*_util$`.

For guests they are compiled and run only in a worker that can be killed.
"""

from __future__ import annotations

import fnmatch
import re
import warnings
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"[\w.]+")
_GLOB = re.compile(r"(?:\w|[*?]|\[!?[\w-]+\])+")


def name_filter(pattern: str | None) -> Callable[[str], bool]:
    """Whether a name fits: exactly where the pattern is a name, whole where it is a glob, from its start otherwise.

    Raises:
        ToolError: it is no regular expression.
    """
    if pattern is None:
        return lambda _name: True
    if _NAME.fullmatch(pattern) and ".*" not in pattern:
        return lambda name: name == pattern
    if _GLOB.fullmatch(pattern) or pattern.startswith(("*", "?")):  # no expression begins with these
        return lambda name: fnmatch.fnmatchcase(name, pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python may read otherwise one day
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ToolError(
            f"the pattern is neither a name, a glob nor a regular expression of Python's: {error}."
        ) from error
    return lambda name: compiled.match(name) is not None
