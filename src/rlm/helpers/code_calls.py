"""`code.call_graph` and `code.find_references`: who calls what, and where a name is used, by lines alone."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import msgspec

from rlm.helpers.code_facts import Facts, dotted, python_alone
from rlm.helpers.code_scopes import Names
from rlm.helpers.code_survey import Where, ask
from rlm.helpers.helper import helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

_HERE = "rlm.helpers.code_calls"
_MODULE = "<module>"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One edge of a call graph."""

    caller: str
    """The qualified name of the function that the call stands in; `<module>` outside of any."""
    callee: str
    """As it is written: `self.save`, `json.dumps`."""
    line: int


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a name stands in code."""

    line: int
    role: str
    """As in `code_scopes`, or attribute, or keyword."""
    scope: str
    """Where it is bound: the qualified name of a function or class, `<module>`, or nothing where that can't be told."""


@helper("code.call_graph")
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
        name: Only calls by or of functions of that name.
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    return ask(where, "calls", f"{_HERE}:calls_in", name=name)


@helper("code.find_references")
def find_references(
    work: Workspace,
    path: str,
    name: str,
    file_pattern: str = "**/*.py",
    limit: int | None = None,
    offset: int = 0,
) -> Json:
    """Find where a name stands in code, not in strings or comments, with its role and the scope that binds it there.

    Args:
        path: A file or a folder.
        name: The variable, function, class, parameter or attribute.
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    return ask(where, "references", f"{_HERE}:references_in", name=name)


def calls_in(tree: ast.Module | Facts, file: str, name: str | None) -> list[Call]:  # noqa: ARG001 - asked alike
    """The calls of a module, in the order of their lines."""
    tree = python_alone(tree)
    calls = sorted(_calls(tree), key=lambda each: each.line)
    return [each for each in calls if name is None or name in (_last(each.caller), _last(each.callee))]


def references_in(tree: ast.Module | Facts, file: str, name: str) -> list[Reference]:  # noqa: ARG001 - asked alike
    """The places of a name in a module, in the order of their lines."""
    tree = python_alone(tree)
    names = Names(tree, {name})
    found = []
    for each in names.mentions:
        owner = names.owner(each)
        scope = "" if owner is None else owner.qualname or _MODULE
        found.append(Reference(line=getattr(each.node, "lineno", 1), role=each.role, scope=scope))
    found += [Reference(line=part.node.end_lineno or 1, role="attribute", scope="") for part in names.attributes]
    keywords = (word for part in names.calls for word in part.node.keywords if word.arg == name)
    found += [Reference(line=word.lineno, role="keyword", scope="") for word in keywords]
    return sorted(found, key=lambda each: each.line)


def _calls(tree: ast.Module) -> Iterator[Call]:
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, inside = waiting.pop()
        if isinstance(node, ast.Call):
            yield Call(caller=inside or _MODULE, callee=dotted(node.func), line=node.lineno)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inside = f"{inside}.{node.name}" if inside else node.name
        waiting += [(child, inside) for child in ast.iter_child_nodes(node)]


def _last(name: str) -> str:
    return name.rpartition(".")[2]
