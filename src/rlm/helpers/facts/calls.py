"""`code.call_graph` and `code.find_references`: who calls what, and where a name is used, by lines alone."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import msgspec

from rlm.helpers.declaring import helper
from rlm.helpers.facts.python import below, cut, dotted
from rlm.helpers.facts.scopes import Names
from rlm.helpers.facts.survey import Where, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json
    from rlm.helpers.facts.file import CodeFile
    from rlm.helpers.workspace import Workspace

_HERE = "rlm.helpers.facts.calls"
_MODULE = "<module>"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One edge of a call graph."""

    caller: str
    """The qualified name of the function or class whose body the call stands in; `<module>` outside of any."""
    callee: str
    """As it is written: `self.save`, `json.dumps`, `?.save` of what has no name."""
    line: int


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a name stands in code."""

    line: int
    role: str
    """As in `mentions`, or attribute, or keyword."""
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
        name: Only calls by or of functions of that name: "save", or "Box.save".
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


def calls_in(code: CodeFile, name: str | None) -> list[Call]:
    """The calls of a module, in the order of their lines."""
    if name is not None and not code.mentions(name.rpartition(".")[2]):
        return []
    calls = sorted(_calls(code.tree()), key=lambda each: each.line)
    return [each for each in calls if name is None or _is_named(name, each.caller) or _is_named(name, each.callee)]


def references_in(code: CodeFile, name: str) -> list[Reference]:
    """The places of a name in a module, in the order of their lines."""
    if not code.mentions(name):
        return []
    tree = code.tree()
    names = Names(tree, {name})
    found = []
    for each in names.mentions:
        owner = names.owner(each)
        scope = "" if owner is None else owner.qualname or _MODULE
        found.append(Reference(line=getattr(each.node, "lineno", 1), role=each.role, scope=scope))
    found += [_unbound(part.node.end_lineno or 1, "attribute") for part in names.attributes]
    found += [_unbound(alias.lineno, "import") for _, alias in names.imports]
    keywords = (word for part in names.calls for word in part.node.keywords if word.arg == name)
    found += [_unbound(word.lineno, "keyword") for word in keywords]
    patterns = (node for node in ast.walk(tree) if isinstance(node, ast.MatchClass) and name in node.kwd_attrs)
    found += [_unbound(node.lineno, "attribute") for node in patterns]
    return sorted(found, key=lambda each: each.line)


def _unbound(line: int, role: str) -> Reference:
    return Reference(line=line, role=role, scope="")


def _calls(tree: ast.Module) -> Iterator[Call]:
    """The calls of a module as they are written, each with the function or class whose body it stands in."""
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, inside = waiting.pop()
        if isinstance(node, ast.Call):
            yield Call(caller=inside or _MODULE, callee=dotted(node.func), line=node.lineno)
        parts = [(child, inside) for child in ast.iter_child_nodes(node)]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            # Decorators, defaults and bases are evaluated outside.
            own, name = {id(each) for each in node.body}, below(inside, cut(node.name))
            parts = [(child, name if id(child) in own else inside) for child, _ in parts]
        waiting += reversed(parts)


def _is_named(name: str, qualname: str) -> bool:
    return qualname == name or qualname.endswith(f".{name}")
