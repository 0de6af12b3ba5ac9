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
class NameScope:
    """One namespace of a module."""

    kind: Kind
    parent: NameScope | None
    qualname: str
    number: int
    """The position of the scope in the order in which scopes begin."""
    node: ast.AST
    """The module, class, function or comprehension."""
    bound: dict[str, int] = field(default_factory=dict)
    """The number of the first mention that binds each name."""
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mention:
    """One place where a name is used as a variable."""

    name: str
    role: Role
    node: ast.AST
    scope: NameScope
    """The scope in which the mention stands; `Names.owner` tells where its name is bound."""
    number: int
    """The position of the mention in the order of evaluation."""
    within: String | None = None
    """The f-string or quoted annotation around it, in which the parser's positions are not exact."""
    statement: ast.Import | ast.ImportFrom | None = None
    """The import statement, if the mention is in one."""

    @property
    def line(self) -> int:
        """The line, from 1; within a string, the line of the string."""
        return line_of(self.node)


@dataclass(frozen=True, slots=True, eq=False)
class NamedNode(Generic[Node_co]):
    """A node with a name that is not a variable (an attribute, a keyword), and its scope."""

    node: Node_co
    scope: NameScope
    within: String | None


def line_of(node: ast.AST) -> int:
    """The line, from 1, on which a node begins; 1 for a module."""
    return getattr(node, "lineno", 1)
