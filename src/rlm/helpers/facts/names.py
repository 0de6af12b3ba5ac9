"""Which binding each mention of a name means, by the scoping rules of Python itself.

Reads one module, and only the names that are asked for. It tells where a name is bound and looked up; spans and edits
are up to other modules.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from rlm.helpers.facts.parsing import NotParsed, parsed
from rlm.helpers.facts.rows import below, cut
from rlm.helpers.facts.scopes import Mention, NamedNode, NameScope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rlm.helpers.facts.python import FunctionNode
    from rlm.helpers.facts.scopes import Kind, Role, String

_BINDING: frozenset[Role] = frozenset({"store", "delete", "def", "class", "param", "import", "except", "match", "type"})
_ROLES: dict[type[ast.expr_context], Role] = {ast.Load: "load", ast.Store: "store", ast.Del: "delete"}


class Names:
    """The mentions of some names in a module."""

    def __init__(self, tree: ast.Module, wanted: Collection[str]) -> None:
        self.mentions: list[Mention] = []
        self.attributes: list[NamedNode[ast.Attribute]] = []
        """Every `x.name` with a wanted name."""
        self.calls: list[NamedNode[ast.Call]] = []
        """Every call with a wanted name as a keyword."""
        self.imports: list[tuple[ast.ImportFrom, ast.alias]] = []
        """Every `from x import name as other`, which doesn't bind the wanted name."""
        self.stars: list[ast.ImportFrom] = []
        self.scopes: list[NameScope] = []
        self.quoted: dict[ast.Constant, ast.expr] = {}
        """The trees of quoted annotations."""
        self._binding: dict[tuple[NameScope, str], list[Mention]] | None = None
        self._wanted = frozenset(wanted)
        self.module = self.inner_scope("module", None, "", tree)
        _Reader(self).body(tree.body, self.module)

    def owner(self, mention: Mention) -> NameScope | None:
        """The scope whose binding a mention means; None for a builtin, or a name from a star import."""
        name, scope = mention.name, mention.scope
        own = True
        while True:
            if name in scope.globals and (own or scope.kind != "class"):
                return self.module
            if name in scope.bound and name not in scope.nonlocals:
                if self._visible(scope, mention, own=own):
                    return scope
                if scope is mention.scope:
                    # A name that the body binds later is a global until then, never one of an enclosing function.
                    return self.module if name in self.module.bound else None
            if scope.parent is None:
                return None
            own = own and scope.kind == "types"
            scope = scope.parent

    def bound_in(self, scope: NameScope, name: str) -> list[Mention]:
        """The mentions that bind a name in a scope."""
        if self._binding is None:
            self._binding = {}
            for each in self.mentions:
                if self.binds(each) and (owner := self.owner(each)) is not None:
                    self._binding.setdefault((owner, each.name), []).append(each)
        return self._binding.get((scope, name), [])

    def tree_of(self, string: String) -> ast.expr:
        """The tree of an f-string or a quoted annotation."""
        return self.quoted[string] if isinstance(string, ast.Constant) else string

    def binding(self, mention: Mention) -> list[Mention]:
        """The mentions that bind what a mention means; empty for a builtin, or a name from a star import."""
        owner = self.owner(mention)
        return [] if owner is None else self.bound_in(owner, mention.name)

    def binds(self, mention: Mention) -> bool:
        """Whether a mention binds or deletes the name."""
        return mention.role in _BINDING

    def _visible(self, scope: NameScope, mention: Mention, *, own: bool) -> bool:
        if scope.kind != "class":
            return True
        # In a class body, a name means the outer one until the body binds it.
        return own and (self.binds(mention) or mention.number > scope.bound[mention.name])

    def add(self, mention: Mention) -> None:
        """Note a mention."""
        self.mentions.append(mention)
        if mention.role in _BINDING:
            place = self.module if mention.name in mention.scope.globals else mention.scope
            place.bound.setdefault(mention.name, mention.number)

    def wants(self, name: str | None) -> bool:
        return name in self._wanted

    def inner_scope(self, kind: Kind, parent: NameScope | None, name: str, node: ast.AST) -> NameScope:
        """A new scope inside another; without a name of its own it has its parent's."""
        outer = parent.qualname if parent else ""
        qualname = below(outer, cut(name)) if name else outer
        scope = NameScope(kind=kind, parent=parent, qualname=qualname, number=len(self.scopes), node=node)
        self.scopes.append(scope)
        return scope


class _Reader:
    """Goes through a module in the order of evaluation."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._in_annotation = False
        self._within: String | None = None

    def body(self, statements: Iterable[ast.stmt], scope: NameScope) -> None:
        statements = list(statements)
        for each in statements:
            _declared(each, scope)
        for each in statements:
            self.visit(each, scope)

    def visit(self, node: ast.AST, scope: NameScope) -> None:
        special = getattr(self, f"visit_{type(node).__name__}", None)
        if special is not None:
            special(node, scope)
        else:
            self._parts(node, scope)

    def _parts(self, node: ast.AST, scope: NameScope) -> None:
        for child in ast.iter_child_nodes(node):
            self.visit(child, scope)

    def _each(self, nodes: Iterable[ast.AST | None], scope: NameScope) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node, scope)

    def _add(
        self,
        name: str,
        role: Role,
        node: ast.AST,
        scope: NameScope,
        statement: ast.Import | ast.ImportFrom | None = None,
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

    def visit_Name(self, node: ast.Name, scope: NameScope) -> None:
        in_quotes = isinstance(self._within, ast.Constant)
        self._add(node.id, "text" if in_quotes else _ROLES[type(node.ctx)], node, scope)

    def visit_JoinedStr(self, node: ast.JoinedStr, scope: NameScope) -> None:
        before, self._within = self._within, self._within or node
        self._parts(node, scope)
        self._within = before

    def visit_Attribute(self, node: ast.Attribute, scope: NameScope) -> None:
        self.visit(node.value, scope)
        if self._names.wants(node.attr):
            self._names.attributes.append(NamedNode(node, scope, self._within))

    def visit_Call(self, node: ast.Call, scope: NameScope) -> None:
        # The arguments of a call in an annotation are values: `Annotated[str, Option("--name")]`.
        before, self._in_annotation = self._in_annotation, False
        self._parts(node, scope)
        self._in_annotation = before
        if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "__all__":
            for argument in node.args:
                self._exported(argument, scope)
        if any(self._names.wants(keyword.arg) for keyword in node.keywords):
            self._names.calls.append(NamedNode(node, scope, self._within))

    def visit_Assign(self, node: ast.Assign, scope: NameScope) -> None:
        self._each([node.value, *node.targets], scope)
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            self._exported(node.value, scope)

    def visit_AugAssign(self, node: ast.AugAssign, scope: NameScope) -> None:
        if scope.kind == "class" and isinstance(node.target, ast.Name):
            # It reads the outer name if the body has not bound it yet.
            self._add(node.target.id, "load", node.target, scope)
        self._each([node.value, node.target], scope)
        if isinstance(node.target, ast.Name) and node.target.id == "__all__":
            self._exported(node.value, scope)

    def visit_AnnAssign(self, node: ast.AnnAssign, scope: NameScope) -> None:
        self._annotation(node.annotation, scope)
        self._each([node.value, node.target], scope)
        if isinstance(node.target, ast.Name) and node.target.id == "__all__" and node.value is not None:
            self._exported(node.value, scope)

    def _exported(self, node: ast.expr, scope: NameScope) -> None:
        for item in ast.walk(node) if scope.kind == "module" else ():
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                self._add(item.value, "exported", item, scope)

    def visit_NamedExpr(self, node: ast.NamedExpr, scope: NameScope) -> None:
        self.visit(node.value, scope)
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        self.visit(node.target, scope)

    def visit_For(self, node: ast.For | ast.AsyncFor, scope: NameScope) -> None:
        self._each([node.iter, node.target, *node.body, *node.orelse], scope)

    visit_AsyncFor = visit_For

    def visit_FunctionDef(self, node: FunctionNode, scope: NameScope) -> None:
        self._each(node.decorator_list, scope)
        self._each([*node.args.defaults, *node.args.kw_defaults], scope)
        outer = self._types(node, scope)
        for argument in _arguments(node.args):
            self._annotation(argument.annotation, outer)
        self._annotation(node.returns, outer)
        inner = self._names.inner_scope("function", outer, node.name if outer is scope else "", node)
        self._params(node.args, inner)
        self.body(node.body, inner)
        self._add(node.name, "def", node, scope)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda, scope: NameScope) -> None:
        self._each([*node.args.defaults, *node.args.kw_defaults], scope)
        inner = self._names.inner_scope("function", scope, "<lambda>", node)
        self._params(node.args, inner)
        self.visit(node.body, inner)

    def _params(self, arguments: ast.arguments, scope: NameScope) -> None:
        for argument in _arguments(arguments):
            self._add(argument.arg, "param", argument, scope)

    def visit_ClassDef(self, node: ast.ClassDef, scope: NameScope) -> None:
        self._each(node.decorator_list, scope)
        outer = self._types(node, scope)
        self._each([*node.bases, *node.keywords], outer)
        self.body(node.body, self._names.inner_scope("class", outer, node.name if outer is scope else "", node))
        self._add(node.name, "class", node, scope)

    def visit_TypeAlias(self, node: ast.AST, scope: NameScope) -> None:
        inner = self._types(node, scope)
        self._annotation(node.value, inner)  # type: ignore[attr-defined]
        self.visit(node.name, scope)  # type: ignore[attr-defined]

    def _types(self, node: ast.AST, scope: NameScope) -> NameScope:
        """The scope of the type parameters of a definition, if it has any."""
        parameters: list[ast.AST] = getattr(node, "type_params", [])
        if not parameters:
            return scope
        name = getattr(node.name, "id", None) or node.name  # type: ignore[attr-defined]
        inner = self._names.inner_scope("types", scope, name, node)
        for each in parameters:
            self._add(each.name, "type", each, inner)  # type: ignore[attr-defined]
            self._each(ast.iter_child_nodes(each), inner)
        return inner

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: NameScope
    ) -> None:
        first, *others = node.generators
        self.visit(first.iter, scope)
        inner = self._names.inner_scope("comprehension", scope, "", node)
        self._each([first.target, *first.ifs], inner)
        for each in others:
            self._each([each.iter, each.target, *each.ifs], inner)
        self._each([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt], inner)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_Global(self, node: ast.Global | ast.Nonlocal, scope: NameScope) -> None:
        for name in node.names:
            self._add(name, "global", node, scope)

    visit_Nonlocal = visit_Global

    def visit_ExceptHandler(self, node: ast.ExceptHandler, scope: NameScope) -> None:
        self._each([node.type], scope)
        if node.name is not None:
            self._add(node.name, "except", node, scope)
        self._each(node.body, scope)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar, scope: NameScope) -> None:
        self._parts(node, scope)
        if node.name is not None:
            self._add(node.name, "match", node, scope)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping, scope: NameScope) -> None:
        self._parts(node, scope)
        if node.rest is not None:
            self._add(node.rest, "match", node, scope)

    def visit_Import(self, node: ast.Import, scope: NameScope) -> None:
        for alias in node.names:
            self._add(alias.asname or alias.name.partition(".")[0], "import", alias, scope, node)

    def visit_ImportFrom(self, node: ast.ImportFrom, scope: NameScope) -> None:
        for alias in node.names:
            if alias.name == "*":
                self._names.stars.append(node)
            elif self._names.wants(alias.name) and alias.asname not in (None, alias.name):
                self._names.imports.append((node, alias))
            self._add(alias.asname or alias.name, "import", alias, scope, node)

    def _annotation(self, node: ast.AST | None, scope: NameScope) -> None:
        if node is None:
            return
        before, self._in_annotation = self._in_annotation, True
        self.visit(node, scope)
        self._in_annotation = before

    def visit_Subscript(self, node: ast.Subscript, scope: NameScope) -> None:
        before = self._in_annotation
        self.visit(node.value, scope)
        name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        parts = node.slice.elts if name == "Annotated" and isinstance(node.slice, ast.Tuple) else [node.slice]
        for number, part in enumerate(parts):
            self._in_annotation = before and name != "Literal" and number == 0
            self.visit(part, scope)
        self._in_annotation = before

    def visit_Constant(self, node: ast.Constant, scope: NameScope) -> None:
        if not self._in_annotation or not isinstance(node.value, str):
            return
        inner = quoted(node.value)
        if inner is None:
            return
        for each in ast.walk(inner):
            ast.copy_location(each, node)
        before, self._within = self._within, self._within or node
        self._names.quoted[node] = inner
        self.visit(inner, scope)
        self._within = before


def quoted(text: str) -> ast.expr | None:
    """The tree of a quoted annotation; None if it is not an expression."""
    try:
        body = parsed(text.strip()).body
    except NotParsed:
        return None
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else None


def _declared(statement: ast.stmt, scope: NameScope) -> None:
    """Note what a statement declares global or nonlocal, before anything in the scope is looked up."""
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
