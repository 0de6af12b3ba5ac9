"""The functions, classes and imports that cells have made, as source that makes them again.

Only statements at the top of a cell count, of those that ran, and only the last that gave a name its value. Their text
is all that is kept: nothing is run here.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_builtins = vars(builtins).copy()
_parse: Any = compile
_modules = sys.modules

_SHOWN_MODULE = re.compile(r"<module '([\w.]+)'")
_NAMED = (FunctionType, BuiltinFunctionType)
_MAKERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)

Source = tuple[list[str], str]
"""The names that a statement defines, and its text."""


class Definitions:
    """What the cells of one namespace have defined."""

    def __init__(self) -> None:
        self._cells: list[tuple[str, int | None]] = []
        self._made: dict[str, str] = {}
        """Name -> source, in the order in which they ran."""

    def note(self, code: str, failed_at: int | None = None) -> None:
        """Remember a cell that ran, up to the line where it failed if it did."""
        self._cells.append((code, failed_at))

    def sources(self, wanted: frozenset[str]) -> list[Source]:
        """What each statement defined of the names that are wanted, in the order they ran."""
        for code, failed_at in self._cells:
            self._read(code, failed_at)
        self._cells.clear()
        found: dict[str, list[str]] = {}
        for name, source in self._made.items():
            if name in wanted:
                found.setdefault(source, []).append(name)
        return [(names, source) for source, names in found.items()]

    def _read(self, code: str, failed_at: int | None) -> None:
        lines = code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for node in _statements(code):
            if failed_at is not None and (node.end_lineno or 0) >= failed_at:
                self._forget(node if node.lineno <= failed_at else None)
                continue
            names = _defined(node)
            if not names:
                self._forget(node)
            source = _source(lines, node) if names else ""
            for name in names:
                self._made.pop(name, None)
                self._made[name] = source

    def _forget(self, node: ast.stmt | None) -> None:
        """Names that another statement binds are no longer what their definitions made."""
        if node is None or isinstance(node, _MAKERS):
            return
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
                self._made.pop(part.id, None)


def imported(name: str, value: Any) -> str | None:
    """The import that binds `name` to this value, if a module has it; of `try: import a as b`, say, or `f = a.f`.

    Modules are found by what they show themselves as: under a policy they have stand-ins.
    """
    kind = type(value)
    if kind.__name__ == "module":
        module = _SHOWN_MODULE.match(repr(value))
        return f"import {module[1]} as {name}" if module is not None and module[1] in _modules else None
    if kind not in _NAMED and not issubclass(kind, type):
        return None
    module, own = value.__module__, value.__name__
    if type(module) is not str or module.startswith("_") or _builtins.get(own) is value:
        return None
    there = _modules.get(module)
    found = vars(there).get(own) if type(there) is ModuleType else None
    return f"from {module} import {own} as {name}" if found is value else None


def _statements(code: str) -> list[ast.stmt]:
    try:
        tree: ast.Module = _parse(code, "<cell>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return tree.body


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement binds to values that only its source can make."""
    if isinstance(node, _MAKERS):
        return [node.name]
    if isinstance(node, _IMPORTS):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign) and (isinstance(node.value, ast.Lambda) or _is_repeatable(node.value)):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _is_repeatable(value: ast.expr) -> bool:
    """Whether a call makes the same value anew and does nothing else: a pattern, a skill."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func) not in ("re.compile", "load_skill"):
        return False
    return not value.keywords and all(isinstance(argument, ast.Constant) for argument in value.args)


def _source(lines: list[str], node: ast.stmt) -> str:
    """A statement as it was written, with decorators and comments; one that may share its lines, as `ast` writes it."""
    if not isinstance(node, _MAKERS):
        return ast.unparse(node)
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "\n".join(lines[first - 1 : node.end_lineno]).rstrip()
