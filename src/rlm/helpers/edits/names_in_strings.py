"""Finds strings that may refer to a name: `getattr(m, "load")`, `patch("m.load")`, `__slots__`.

A rename leaves strings alone; their lines are listed for a check by hand.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from rlm.helpers.facts.python import last_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_TAKERS = frozenset(
    {
        *("getattr", "setattr", "hasattr", "delattr", "attrgetter", "methodcaller", "patch", "object"),
        *("cast", "TypeVar", "NewType", "ForwardRef", "usefixtures", "getfixturevalue"),
    }
)
"""Functions that take names in strings."""
_PARAMETER_TAKERS = frozenset({"parametrize"})
_LISTS = ("__slots__", "__match_args__", "__all__", "__annotations__")
_SPACES = ("globals", "locals", "vars", "__dict__")
_PATH = re.compile(r"\w+(?:[.:]\w+)+")
_BETWEEN = re.compile(r"\W+")


def lines_with(tree: ast.Module, name: str, known: Collection[ast.AST], *, parameter: bool) -> Iterator[int]:
    """The lines of strings that may refer to a name, without those that the caller already knows."""
    for node in ast.walk(tree):
        for string in _parameters(node) if parameter else _strings(node, name):
            if string not in known and isinstance(string.value, str) and name in _BETWEEN.split(string.value):
                yield string.lineno


def _parameters(node: ast.AST) -> Iterator[ast.Constant]:
    if isinstance(node, ast.Call) and last_name(node.func) in _PARAMETER_TAKERS:
        yield from _constants(node.args)


def _strings(node: ast.AST, name: str) -> Iterator[ast.Constant]:
    """The strings that may be names, by their place in the code."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_path(node.value, name):
        yield node
    elif isinstance(node, ast.Call) and last_name(node.func) in _TAKERS:
        yield from _constants([*node.args, *(word.value for word in node.keywords)])
    elif isinstance(node, ast.Assign) and any(last_name(target) in _LISTS for target in node.targets):
        yield from _constants([node.value])
    elif isinstance(node, ast.Subscript) and _holds_names(node.value):
        yield from _constants([node.slice])


def _is_path(text: str, name: str) -> bool:
    """Whether a text is a path such as `package.module:name` with the name after its first part."""
    return name in text and _PATH.fullmatch(text) is not None and name in _BETWEEN.split(text)[1:]


def _constants(nodes: Iterable[ast.expr]) -> Iterator[ast.Constant]:
    for node in nodes:
        parts = node.elts if isinstance(node, (ast.List, ast.Tuple, ast.Set)) else [node]
        yield from (part for part in parts if isinstance(part, ast.Constant))


def _holds_names(node: ast.expr) -> bool:
    """Whether an expression holds names: `globals()`, `x.__dict__`, and types such as `Optional["Name"]`."""
    name = last_name(node)
    return name in _SPACES or name[:1].isupper() or name in ("list", "dict", "set", "frozenset", "tuple", "type")
