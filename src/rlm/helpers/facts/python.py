"""Reads functions, classes and imports out of the tree of a Python module.

Knows nothing about files, and looks only at statements, so that a million lines take seconds.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeAlias

from rlm.helpers.facts.rows import QUALNAME_CHARS, Class, Facts, Function, Import, below, cut, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.helpers.facts.rows import FunctionKind

FunctionNode: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef"


def facts_of(tree: ast.Module) -> Facts:
    """The functions and classes of a module, in the order of their lines."""
    reader = _Reader()
    complexity = reader.block(tree.body, "", "function")
    reader.functions.sort(key=lambda each: each.start_line)
    reader.classes.sort(key=lambda each: each.start_line)
    return Facts(functions=reader.functions, classes=reader.classes, complexity=complexity)


def imports_of(tree: ast.Module) -> list[Import]:
    """Every name that an import binds anywhere in a module, in the order of their lines."""
    found: list[Import] = []
    waiting = [(statement, True) for statement in tree.body]
    while waiting:
        statement, top_level = waiting.pop()
        found += _imports(statement, top_level)
        top_level = top_level and not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for block in blocks(statement):
            waiting += [(each, top_level) for each in block]
    return sorted(found, key=lambda each: each.line)


def blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The bodies of a compound statement."""
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(statement, name, None):
            yield block
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def dotted(node: ast.expr) -> str:
    """The dotted name of a callee, base or decorator: `a.b` of `a.b(1)`, `?` if it has no name."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return cut(".".join([node.id if isinstance(node, ast.Name) else "?", *reversed(names)]), QUALNAME_CHARS)


def last_name(node: ast.expr) -> str:
    """The name after the last dot, also of `super().f` and `type(self)`; empty without a name."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


class _Reader:
    """Goes down the statements of a module once."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.classes: list[Class] = []

    def block(self, body: Sequence[ast.stmt], outer: str, kind: FunctionKind) -> int:
        """Note the definitions of a block; returns the number of its branches."""
        branches = 0
        waiting = list(body)
        while waiting:
            statement = waiting.pop()
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                branches += self._function(statement, outer, kind)
            elif isinstance(statement, ast.ClassDef):
                branches += self._class(statement, outer)
            elif isinstance(statement, _COMPOUND):
                branches += _branches(statement)
                for block in blocks(statement):
                    waiting += block
        return branches

    def _function(self, node: FunctionNode, outer: str, kind: FunctionKind) -> int:
        name = cut(node.name)
        qualname = below(outer, name)
        complexity = 1 + self.block(node.body, qualname, "nested")
        self.functions.append(
            Function(
                name=name,
                qualname=qualname,
                kind=kind,
                start_line=_first_line(node),
                end_line=node.end_lineno or node.lineno,
                args=listed(_arguments(node)),
                decorators=listed(dotted(each) for each in node.decorator_list),
                is_async=isinstance(node, ast.AsyncFunctionDef),
                docstring=has_docstring(node),
                complexity=complexity,
            )
        )
        return complexity

    def _class(self, node: ast.ClassDef, outer: str) -> int:
        name = cut(node.name)
        qualname = below(outer, name)
        methods = (each.name for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)))
        self.classes.append(
            Class(
                name=name,
                qualname=qualname,
                start_line=_first_line(node),
                end_line=node.end_lineno or node.lineno,
                bases=listed(dotted(each) for each in node.bases),
                decorators=listed(dotted(each) for each in node.decorator_list),
                methods=listed(methods),
                docstring=has_docstring(node),
            )
        )
        return self.block(node.body, qualname, "method")


_COMPOUND = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.With,
    ast.AsyncWith,
    ast.Match,
    ast.TryStar,
)


def _branches(statement: ast.stmt) -> int:
    """How many branches a compound statement adds by itself, counted as `mccabe` and Ruff's C901 do."""
    if isinstance(statement, (ast.If, ast.For, ast.AsyncFor, ast.While)):
        return 1
    if isinstance(statement, (ast.Try, ast.TryStar)):
        return len(statement.handlers) + bool(statement.orelse)
    if isinstance(statement, ast.Match):
        return len(statement.cases) - _is_else(statement.cases[-1])
    return 0


def _is_else(case: ast.match_case) -> bool:
    """Whether a case matches anything."""
    pattern = case.pattern
    while isinstance(pattern, ast.MatchAs) and pattern.pattern is not None:
        pattern = pattern.pattern
    return case.guard is None and isinstance(pattern, ast.MatchAs)


def _first_line(node: FunctionNode | ast.ClassDef) -> int:
    """The line of a definition's first decorator, or its own."""
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def has_docstring(node: FunctionNode | ast.ClassDef) -> bool:
    """Whether a definition begins with a docstring."""
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _arguments(node: FunctionNode) -> list[str]:
    """The names of a function's parameters, with `*` and `**`."""
    given = node.args
    names = [each.arg for each in (*given.posonlyargs, *given.args)]
    names += [f"*{given.vararg.arg}"] if given.vararg else []
    names += [each.arg for each in given.kwonlyargs]
    return names + ([f"**{given.kwarg.arg}"] if given.kwarg else [])


def _imports(node: ast.stmt, top_level: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            yield _import(alias.name, None, bound, node, top_level)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            yield _import(module, alias.name, alias.asname or alias.name, node, top_level)


def _import(module: str, name: str | None, bound: str, node: ast.stmt, top_level: bool) -> Import:
    return Import(
        module=cut(module, QUALNAME_CHARS),
        name=None if name is None else cut(name),
        bound_as=cut(bound),
        line=node.lineno,
        top_level=top_level,
    )
