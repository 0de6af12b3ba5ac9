"""Takes from a docstring what a model should know: its first paragraph, and what it says of each parameter.

Reads the Google, NumPy and Sphinx styles; from a docstring in another style it takes the first paragraph alone.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SPHINX = re.compile(r"^:param\s+(?:[^:\n]*\s)?\*{0,2}(\w+):\s*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_GOOGLE = re.compile(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|[ \t]*\n)+)", re.MULTILINE)
_GOOGLE_ITEM = re.compile(r"^(\w+)(?:\s*\([^)\n]*\))?:\s*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_NUMPY = re.compile(r"^Parameters\n-{3,}\n((?:.*\n?)*?)(?=^\S.*\n-{3,}|\Z)", re.MULTILINE)
_NUMPY_ITEM = re.compile(r"^(\w+)[^\n]*\n((?:[ \t]+.*\n?)+)", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?):?[ \t]*$|^:\w+.*:", re.MULTILINE)


def summary_of(function: Callable[..., object]) -> str:
    """The first paragraph of a function's docstring, on one line; empty if it has no docstring."""
    text = inspect.getdoc(function) or ""
    section = _SECTION.search(text)
    text = text[: section.start()] if section else text
    return _joined(text.strip().split("\n\n")[0])


def parameters_of(function: Callable[..., object]) -> dict[str, str]:
    """What a function's docstring says of its parameters, by name."""
    text = inspect.getdoc(function) or ""
    items = list(_SPHINX.findall(text))
    for section, item in ((_GOOGLE, _GOOGLE_ITEM), (_NUMPY, _NUMPY_ITEM)):
        if found := section.search(text):
            items += item.findall(inspect.cleandoc("\n" + found[1]))
    return {name: _joined(said) for name, said in items}


def _joined(text: str) -> str:
    return " ".join(text.split())
