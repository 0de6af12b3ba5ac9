"""Makes one pattern of many literals: as a tree of letters it is several times faster than a list of alternatives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

_Tree: TypeAlias = "dict[str, _Tree]"

_END = ""


def any_of(literals: Iterable[str]) -> str:
    """A pattern that matches the longest of `literals` at a place."""
    tree: _Tree = {}
    for literal in literals:
        node = tree
        for char in literal:
            node = node.setdefault(char, {})
        node[_END] = {}
    return _pattern(tree)


def _pattern(node: _Tree) -> str:
    branches = [re.escape(char) + _pattern(below) for char, below in sorted(node.items()) if char != _END]
    if not branches:
        return ""
    joined = branches[0] if len(branches) == 1 and _END not in node else f"(?:{'|'.join(branches)})"
    return joined + "?" if _END in node else joined
