"""Which binding each mention of a name means, by the scoping rules of Python itself.

Reads one module and only the names that are asked for. Says where a name is bound and looked up; what is written about
it (spans, edits) is another module's business.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rlm.helpers.code_facts import FunctionNode

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
_BINDING: frozenset[Role] = frozenset({"store", "delete", "def", "class", "param", "import", "except", "match", "type"})
Node = TypeVar("Node", bound=ast.AST)


_ROLES: dict[type[ast.expr_context], Role] = {ast.Load: "load", ast.Store: "store", ast.Del: "delete"}


@dataclass(slots=True, eq=False, kw_only=True)
class Scope:
    """One namespace of a module."""

    kind: Literal["module", "class", "function", "comprehension", "types"]
    parent: Scope | None
    qualname: str
    number: int
    """In the order in which scopes begin."""
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
    within: ast.JoinedStr | None = None
    """The f-string that it is in: the parser's positions are not exact there."""
    statement: ast.Import | ast.ImportFrom | None = None
    """Of an import."""


@dataclass(frozen=True, slots=True, eq=False)
class Part(Generic[Node]):
    """A node that has a name in it which is no variable, and where it stands."""

    node: Node
    scope: Scope
    within: ast.JoinedStr | None


class Names:
    """The mentions of some names in a module."""

    def __init__(self, tree: ast.Module, wanted: Collection[str]) -> None:
        self.mentions: list[Mention] = []
        self.attributes: list[Part[ast.Attribute]] = []
        """Every `x.name` with a wanted name."""
        self.calls: list[Part[ast.Call]] = []
        """Every call with a wanted name for a keyword."""
        self.imports: list[tuple[ast.ImportFrom, ast.alias]] = []
        """Every `from x import name as other`, which binds no wanted name."""
        self.stars: list[ast.ImportFrom] = []
        self.scopes: list[Scope] = []
        self._wanted = frozenset(wanted)
        self.module = self._scope("module", None, "")
        _Reader(self).body(tree.body, self.module)

    def owner(self, mention: Mention) -> Scope | None:
        """The scope whose binding a mention means; None for a builtin, or what a star import brings."""
        name, scope = mention.name, mention.scope
        own = True
        while True:
            if name in scope.globals:
                return self.module
            if name in scope.bound and name not in scope.nonlocals and self._visible(scope, mention, own=own):
                return scope
            if scope.parent is None:
                return None
            own = own and scope.kind == "types"
            scope = scope.parent

    def bound_in(self, scope: Scope, name: str) -> list[Mention]:
        """The mentions that bind a name in a scope."""
        return [each for each in self.mentions if each.name == name and self.binds(each) and self.owner(each) is scope]

    def binds(self, mention: Mention) -> bool:
        """Whether a mention gives the name a value, or takes it away."""
        return mention.role in _BINDING

    def _visible(self, scope: Scope, mention: Mention, *, own: bool) -> bool:
        if scope.kind != "class":
            return True
        # In a class body a name means what is outside until the body binds it.
        return own and (self.binds(mention) or mention.number > scope.bound[mention.name])

    def add(self, mention: Mention) -> None:
        """Note a mention."""
        self.mentions.append(mention)
        if mention.role in _BINDING:
            place = self.module if mention.name in mention.scope.globals else mention.scope
            place.bound.setdefault(mention.name, mention.number)

    def wants(self, name: str | None) -> bool:
        return name in self._wanted

    def _scope(self, kind: Literal["module"], parent: None, qualname: str) -> Scope:
        scope = Scope(kind=kind, parent=parent, qualname=qualname, number=0)
        self.scopes.append(scope)
        return scope

    def below(self, kind: Literal["class", "function", "comprehension", "types"], parent: Scope, name: str) -> Scope:
        """A new scope inside of another."""
        inner = f"{parent.qualname}.{name}" if parent.qualname else name
        scope = Scope(kind=kind, parent=parent, qualname=inner if name else parent.qualname, number=len(self.scopes))
        self.scopes.append(scope)
        return scope


class _Reader:
    """Goes through a module in the order of evaluation."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._in_annotation = False
        self._within: ast.JoinedStr | None = None

    def body(self, statements: Iterable[ast.stmt], scope: Scope) -> None:
        statements = list(statements)
        for each in statements:
            _declared(each, scope)
        for each in statements:
            self.visit(each, scope)

    def visit(self, node: ast.AST, scope: Scope) -> None:
        special = getattr(self, f"visit_{type(node).__name__}", None)
        if special is not None:
            special(node, scope)
        else:
            self._parts(node, scope)

    def _parts(self, node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            self.visit(child, scope)

    def _each(self, nodes: Iterable[ast.AST | None], scope: Scope) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node, scope)

    def _add(
        self, name: str, role: Role, node: ast.AST, scope: Scope, statement: ast.Import | ast.ImportFrom | None = None
    ) -> None:
        """Note a mention, if the name is wanted."""
        if self._names.wants(name):
            self._names.add(
                Mention(
                    name=name,
                    role=role,
                    node=node,
                    scope=scope,
                    number=len(self._names.mentions),
                    within=self._within,
                    statement=statement,
                )
            )

    def visit_Name(self, node: ast.Name, scope: Scope) -> None:
        self._add(node.id, _ROLES[type(node.ctx)], node, scope)

    def visit_JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> None:
        before, self._within = self._within, self._within or node
        self._parts(node, scope)
        self._within = before

    def visit_Attribute(self, node: ast.Attribute, scope: Scope) -> None:
        self.visit(node.value, scope)
        if self._names.wants(node.attr):
            self._names.attributes.append(Part(node, scope, self._within))

    def visit_Call(self, node: ast.Call, scope: Scope) -> None:
        self._parts(node, scope)
        if any(self._names.wants(keyword.arg) for keyword in node.keywords):
            self._names.calls.append(Part(node, scope, self._within))

    def visit_Assign(self, node: ast.Assign, scope: Scope) -> None:
        self._each([node.value, *node.targets], scope)
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            self._exported(node.value, scope)

    def visit_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        self._each([node.value, node.target], scope)
        if isinstance(node.target, ast.Name) and node.target.id == "__all__":
            self._exported(node.value, scope)

    def visit_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        self._annotation(node.annotation, scope)
        self._each([node.value, node.target], scope)
        if isinstance(node.target, ast.Name) and node.target.id == "__all__" and node.value is not None:
            self._exported(node.value, scope)

    def _exported(self, node: ast.expr, scope: Scope) -> None:
        if scope.kind == "module" and isinstance(node, (ast.List, ast.Tuple)):
            for item in node.elts:
                if isinstance(item, ast.Constant) and isinstance(item.value, str):
                    self._add(item.value, "exported", item, scope)

    def visit_NamedExpr(self, node: ast.NamedExpr, scope: Scope) -> None:
        self.visit(node.value, scope)
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        self.visit(node.target, scope)

    def visit_For(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        self._each([node.iter, node.target, *node.body, *node.orelse], scope)

    visit_AsyncFor = visit_For

    def visit_FunctionDef(self, node: FunctionNode, scope: Scope) -> None:
        self._each(node.decorator_list, scope)
        self._each([*node.args.defaults, *node.args.kw_defaults], scope)
        outer = self._types(node, scope)
        for argument in _arguments(node.args):
            self._annotation(argument.annotation, outer)
        self._annotation(node.returns, outer)
        inner = self._names.below("function", outer, node.name)
        self._params(node.args, inner)
        self.body(node.body, inner)
        self._add(node.name, "def", node, scope)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda, scope: Scope) -> None:
        self._each([*node.args.defaults, *node.args.kw_defaults], scope)
        inner = self._names.below("function", scope, "<lambda>")
        self._params(node.args, inner)
        self.visit(node.body, inner)

    def _params(self, arguments: ast.arguments, scope: Scope) -> None:
        for argument in _arguments(arguments):
            self._add(argument.arg, "param", argument, scope)

    def visit_ClassDef(self, node: ast.ClassDef, scope: Scope) -> None:
        self._each(node.decorator_list, scope)
        outer = self._types(node, scope)
        self._each([*node.bases, *node.keywords], outer)
        self.body(node.body, self._names.below("class", outer, node.name))
        self._add(node.name, "class", node, scope)

    def visit_TypeAlias(self, node: ast.AST, scope: Scope) -> None:
        inner = self._types(node, scope)
        self._annotation(node.value, inner)  # type: ignore[attr-defined]
        self.visit(node.name, scope)  # type: ignore[attr-defined]

    def _types(self, node: ast.AST, scope: Scope) -> Scope:
        """The scope of the type parameters of a definition, if it has any."""
        parameters: list[ast.AST] = getattr(node, "type_params", [])
        if not parameters:
            return scope
        inner = self._names.below("types", scope, "")
        for each in parameters:
            self._add(each.name, "type", each, inner)  # type: ignore[attr-defined]
            self._each(ast.iter_child_nodes(each), inner)
        return inner

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope) -> None:
        first, *others = node.generators
        self.visit(first.iter, scope)
        inner = self._names.below("comprehension", scope, "")
        self._each([first.target, *first.ifs], inner)
        for each in others:
            self._each([each.iter, each.target, *each.ifs], inner)
        self._each([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt], inner)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_Global(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        for name in node.names:
            self._add(name, "global", node, scope)

    visit_Nonlocal = visit_Global

    def visit_ExceptHandler(self, node: ast.ExceptHandler, scope: Scope) -> None:
        self._each([node.type], scope)
        if node.name is not None:
            self._add(node.name, "except", node, scope)
        self._each(node.body, scope)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar, scope: Scope) -> None:
        self._parts(node, scope)
        if node.name is not None:
            self._add(node.name, "match", node, scope)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping, scope: Scope) -> None:
        self._parts(node, scope)
        if node.rest is not None:
            self._add(node.rest, "match", node, scope)

    def visit_Import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            self._add(alias.asname or alias.name.partition(".")[0], "import", alias, scope, node)

    def visit_ImportFrom(self, node: ast.ImportFrom, scope: Scope) -> None:
        for alias in node.names:
            if alias.name == "*":
                self._names.stars.append(node)
            elif self._names.wants(alias.name) and alias.asname not in (None, alias.name):
                self._names.imports.append((node, alias))
            self._add(alias.asname or alias.name, "import", alias, scope, node)

    def _annotation(self, node: ast.AST | None, scope: Scope) -> None:
        if node is None:
            return
        before, self._in_annotation = self._in_annotation, True
        self.visit(node, scope)
        self._in_annotation = before

    def visit_Subscript(self, node: ast.Subscript, scope: Scope) -> None:
        before = self._in_annotation
        self.visit(node.value, scope)
        name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        self._in_annotation = before and name != "Literal"
        self.visit(node.slice, scope)
        self._in_annotation = before

    def visit_Constant(self, node: ast.Constant, scope: Scope) -> None:
        if not self._in_annotation or not isinstance(node.value, str):
            return
        try:
            inner = ast.parse(node.value.strip(), mode="eval")
        except (SyntaxError, ValueError):
            return
        for each in ast.walk(inner):
            if isinstance(each, ast.Name):
                self._add(each.id, "text", node, scope)


def _declared(statement: ast.stmt, scope: Scope) -> None:
    """Note what is declared global or nonlocal in a statement, before anything in the scope is looked up."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Global):
            scope.globals.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            scope.nonlocals.update(node.names)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)):
            waiting += ast.iter_child_nodes(node)


def _arguments(given: ast.arguments) -> list[ast.arg]:
    starred = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *starred]
