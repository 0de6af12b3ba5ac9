"""`code.find_references`: where a name stands in code, as what, and which binding it means."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import msgspec

from rlm.helpers.facts.names import Names
from rlm.helpers.facts.survey import Where, ask
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.facts.code_file import CodeFile
    from rlm.helpers.workspace import Workspace

_MODULE = "<module>"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a name stands in code."""

    line: int
    role: str
    """A role of `scopes`, or `attribute`, or `keyword`."""
    scope: str
    """The scope that binds the name: the qualified name of a function or class, `<module>`, or empty if unknown."""


@helper("code.find_references", over_files=True)
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
    return ask(where, "references", references_in, name=name)


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
        found.append(Reference(line=each.line, role=each.role, scope=scope))
    found += [_unbound(part.node.end_lineno or 1, "attribute") for part in names.attributes]
    found += [_unbound(alias.lineno, "import") for _, alias in names.imports]
    keywords = (word for part in names.calls for word in part.node.keywords if word.arg == name)
    found += [_unbound(word.lineno, "keyword") for word in keywords]
    patterns = (node for node in ast.walk(tree) if isinstance(node, ast.MatchClass) and name in node.kwd_attrs)
    found += [_unbound(node.lineno, "attribute") for node in patterns]
    return sorted(found, key=lambda each: each.line)


def _unbound(line: int, role: str) -> Reference:
    return Reference(line=line, role=role, scope="")
