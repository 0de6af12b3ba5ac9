"""Patterns for names as people write them: a name, a glob like `handle_*`, or a regular expression like `.*_util$`.

For guests, patterns are compiled and run only in a worker that can be killed.
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
    """Return a test for names: equal to a name, matching a whole glob, or matching a regular expression at the start.

    Raises:
        ToolError: the pattern is none of the three.
    """
    if pattern is None:
        return lambda _name: True
    if _NAME.fullmatch(pattern) and ".*" not in pattern:
        return lambda name: name == pattern
    if _GLOB.fullmatch(pattern) or pattern.startswith(("*", "?")):  # no regular expression begins with these
        return lambda name: fnmatch.fnmatchcase(name, pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about syntax that Python may change one day
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ToolError(
            f"the pattern is neither a name, a glob nor a regular expression of Python's: {error}."
        ) from error
    return lambda name: compiled.match(name) is not None
