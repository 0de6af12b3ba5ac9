"""`code.call_graph`: who calls what."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import msgspec

from rlm.helpers.facts.python import dotted
from rlm.helpers.facts.rows import below, cut
from rlm.helpers.facts.survey import Where, ask
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json
    from rlm.helpers.facts.code_file import CodeFile
    from rlm.helpers.workspace import Workspace

_MODULE = "<module>"


class CallEdge(msgspec.Struct, frozen=True, kw_only=True):
    """One edge of a call graph."""

    caller: str
    """The qualified name of the function or class whose body the call stands in; `<module>` outside of any."""
    callee: str
    """The callee as it is written: `self.save`, `json.dumps`, or `?.save` if an expression comes before the dot."""
    line: int


@helper("code.call_graph", over_files=True)
def call_graph(
    work: Workspace,
    path: str = ".",
    name: str | None = None,
    file_pattern: str = "**/*.py",
    limit: int | None = None,
    offset: int = 0,
) -> Json:
    """List who calls what: caller, callee as it is written, line; a list for a file, a page for a folder.

    Args:
        path: A file or a folder.
        name: Only calls by or of functions of that name: "save", or "Box.save".
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    return ask(where, "calls", calls_in, name=name)


def calls_in(code: CodeFile, name: str | None) -> list[CallEdge]:
    """The calls of a module, in the order of their lines."""
    if name is not None and not code.mentions(name.rpartition(".")[2]):
        return []
    calls = sorted(_calls(code.tree()), key=lambda each: each.line)
    return [each for each in calls if name is None or _is_named(name, each.caller) or _is_named(name, each.callee)]


def _calls(tree: ast.Module) -> Iterator[CallEdge]:
    """The calls of a module as they are written, each with the function or class whose body it stands in."""
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, inside = waiting.pop()
        if isinstance(node, ast.Call):
            yield CallEdge(caller=inside or _MODULE, callee=dotted(node.func), line=node.lineno)
        parts = [(child, inside) for child in ast.iter_child_nodes(node)]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            # Decorators, defaults and bases are evaluated outside.
            own, name = {id(each) for each in node.body}, below(inside, cut(node.name))
            parts = [(child, name if id(child) in own else inside) for child, _ in parts]
        waiting += reversed(parts)


def _is_named(name: str, qualname: str) -> bool:
    return qualname == name or qualname.endswith(f".{name}")
