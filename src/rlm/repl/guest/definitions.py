"""What of the cells so far made functions, classes and imports, as source that makes them again.

Only statements at the top of a cell count, and only the last that gave a name its value. Their text is all that is
kept: nothing is run here.
"""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_parse: Any = compile

_MAKERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


def definitions(cells: Iterable[str], wanted: frozenset[str]) -> list[tuple[list[str], str]]:
    """The names that each statement defined and its source, in the order they ran, for the names that are wanted."""
    made: dict[str, int] = {}
    sources: list[tuple[list[str], str]] = []
    for code in cells:
        for node in _statements(code):
            if names := _defined(node):
                made.update((name, len(sources)) for name in names)
                sources.append((names, _source(code, node)))
            else:
                _forget(made, node)
    return [
        ([name for name in names if made.get(name) == index and name in wanted], source)
        for index, (names, source) in enumerate(sources)
        if any(made.get(name) == index and name in wanted for name in names)
    ]


def _statements(code: str) -> list[ast.stmt]:
    try:
        tree: ast.Module = _parse(code, "<cell>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return tree.body


def _defined(node: ast.stmt) -> list[str]:
    """The names that it binds to what only its source can make."""
    if isinstance(node, _MAKERS):
        return [node.name]
    if isinstance(node, _IMPORTS):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign) and (isinstance(node.value, ast.Lambda) or _is_repeatable(node.value)):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _is_repeatable(value: ast.expr) -> bool:
    """It makes the same anew and nothing else: a pattern, a skill."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func) not in ("re.compile", "load_skill"):
        return False
    return not value.keywords and all(isinstance(argument, ast.Constant) for argument in value.args)


def _forget(made: dict[str, int], node: ast.stmt) -> None:
    """Names that another statement binds are no longer what their definitions made."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            made.pop(part.id, None)


def _source(code: str, node: ast.stmt) -> str:
    if not isinstance(node, _MAKERS):
        return ast.unparse(node)
    return "\n".join(_pieces(code, node))


def _pieces(code: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        yield f"@{ast.unparse(decorator)}"
    yield ast.get_source_segment(code, node) or ast.unparse(node)
