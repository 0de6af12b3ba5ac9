"""What is told of Python code: its functions, classes and imports, as facts without source.

Works on one parsed module. Knows nothing of files, and looks at statements only, so that a million lines take seconds.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FunctionNode: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef"
_NAME_CHARS = 200
_QUALNAME_CHARS = 500
_LISTED = 500
"""Arguments, bases, methods, decorators and modules that are named of one definition or file."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function or method."""

    name: str
    qualname: str
    kind: str
    """`function`, `method`, or `nested` inside of another function."""
    start_line: int
    """Of its first decorator, so that copying `start_line` to `end_line` takes all of it."""
    end_line: int
    args: list[str]
    decorators: list[str]
    is_async: bool
    docstring: bool
    """Of Python alone."""
    complexity: int
    """Cyclomatic, after McCabe: 1 and one more for each branch, nested functions included."""


class Class(msgspec.Struct, frozen=True, kw_only=True):
    """A class."""

    name: str
    qualname: str
    start_line: int
    end_line: int
    bases: list[str]
    decorators: list[str]
    methods: list[str]
    docstring: bool


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """One name that an import binds."""

    module: str
    """With leading dots where it is relative."""
    name: str | None
    """What is taken from the module; None where the module itself is imported."""
    bound_as: str
    line: int
    top_level: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to tell of one module."""

    functions: list[Function]
    classes: list[Class]
    complexity: int
    """The sum over its functions and its own branches."""
    broken_line: int | None = None
    """The first line that is no correct code, in a language whose parser goes on after it."""


def facts_of(tree: ast.Module) -> Facts:
    """The functions and classes of a module, in the order of their lines."""
    survey = _Survey()
    complexity = survey.block(tree.body, "", "function")
    survey.functions.sort(key=lambda each: each.start_line)
    survey.classes.sort(key=lambda each: each.start_line)
    return Facts(functions=survey.functions, classes=survey.classes, complexity=complexity)


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
    """The name of what is called, inherited from or used as decorator: `a.b` of `a.b(1)`, `?` for what has none."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return cut(".".join([node.id if isinstance(node, ast.Name) else "?", *reversed(names)]), _QUALNAME_CHARS)


def cut(name: str, most: int = _NAME_CHARS) -> str:
    """A name of bounded length."""
    return name if len(name) <= most else f"{name[:most]}..."


def below(outer: str, name: str) -> str:
    """The qualified name of what is defined inside of something else."""
    return cut(f"{outer}.{name}" if outer else name, _QUALNAME_CHARS)


def listed(names: Iterable[str]) -> list[str]:
    """Names of bounded length and number; the last one says how many more there are."""
    found = list(names)
    more = len(found) - _LISTED
    return [cut(name) for name in found[:_LISTED]] + ([f"... and {more:,} more"] if more > 0 else [])


class _Survey:
    """Goes down the statements of a module once."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.classes: list[Class] = []

    def block(self, body: Sequence[ast.stmt], outer: str, kind: str) -> int:
        """Note what a block defines; returns the branches in it."""
        branches = 0
        waiting = list(body)
        while waiting:
            statement = waiting.pop()
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                branches += self._function(statement, outer, kind)
            elif isinstance(statement, ast.ClassDef):
                branches += self._class(statement, outer)
            elif isinstance(statement, _COMPOUND):
                branches += own_branches(statement)
                for block in blocks(statement):
                    waiting += block
        return branches

    def _function(self, node: FunctionNode, outer: str, kind: str) -> int:
        name = cut(node.name)
        qualname = below(outer, name)
        complexity = 1 + self.block(node.body, qualname, "nested")
        self.functions.append(
            Function(
                name=name,
                qualname=qualname,
                kind=kind,
                start_line=first_line(node),
                end_line=node.end_lineno or node.lineno,
                args=listed(arguments_of(node)),
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
                start_line=first_line(node),
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


def own_branches(statement: ast.stmt) -> int:
    """How many ways a compound statement adds by itself, as `mccabe` and Ruff's C901 count them."""
    if isinstance(statement, (ast.If, ast.For, ast.AsyncFor, ast.While)):
        return 1
    if isinstance(statement, (ast.Try, ast.TryStar)):
        return len(statement.handlers) + bool(statement.orelse)
    if isinstance(statement, ast.Match):
        return len(statement.cases) - _is_else(statement.cases[-1])
    return 0


def _is_else(case: ast.match_case) -> bool:
    """Whether a case fits anything."""
    pattern = case.pattern
    while isinstance(pattern, ast.MatchAs) and pattern.pattern is not None:
        pattern = pattern.pattern
    return case.guard is None and isinstance(pattern, ast.MatchAs)


def first_line(node: FunctionNode | ast.ClassDef) -> int:
    """The line of a definition's first decorator, or its own."""
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def has_docstring(node: FunctionNode | ast.ClassDef) -> bool:
    """Whether a definition begins with a docstring."""
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def arguments_of(node: FunctionNode) -> list[str]:
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
        module=cut(module, _QUALNAME_CHARS),
        name=None if name is None else cut(name),
        bound_as=cut(bound),
        line=node.lineno,
        top_level=top_level,
    )
