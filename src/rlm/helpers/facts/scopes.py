"""The values of scoping: a namespace of a module, and a place where a name stands in it. `names` fills them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

Role: TypeAlias = Literal[
    "load",
    "store",
    "delete",
    "def",
    "class",
    "param",
    "import",
    "global",
    "except",
    "match",
    "type",
    "text",
    "exported",
]
Kind: TypeAlias = Literal["module", "class", "function", "comprehension", "types"]
Node_co = TypeVar("Node_co", bound=ast.AST, covariant=True)
String: TypeAlias = "ast.JoinedStr | ast.Constant"


@dataclass(slots=True, eq=False, kw_only=True)
class Scope:
    """One namespace of a module."""

    kind: Kind
    parent: Scope | None
    qualname: str
    number: int
    """In the order in which scopes begin."""
    node: ast.AST
    """The module, class, function or comprehension."""
    bound: dict[str, int] = field(default_factory=dict)
    """Name -> the mention that binds it first."""
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mention:
    """One place where a name is used as a variable."""

    name: str
    role: Role
    node: ast.AST
    scope: Scope
    """Where it stands; `Names.owner` says where it is bound."""
    number: int
    """In the order of evaluation."""
    within: String | None = None
    """The f-string, or the annotation in quotes, that it is in: the parser's positions are not exact there."""
    statement: ast.Import | ast.ImportFrom | None = None
    """Of an import."""

    @property
    def line(self) -> int:
        """From 1; of a string where it is in one."""
        return line_of(self.node)


@dataclass(frozen=True, slots=True, eq=False)
class NamedNode(Generic[Node_co]):
    """A node that has a name in it which is no variable, and where it stands."""

    node: Node_co
    scope: Scope
    within: String | None


def line_of(node: ast.AST) -> int:
    """The line, from 1, that a node begins on; a module's is the first."""
    return getattr(node, "lineno", 1)
