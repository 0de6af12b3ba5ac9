"""Tells whether an object is of a class or of one derived from it, as far as the code says so.

It is taken as said by a call of the class, an annotation, or an assignment of either to a name or to an attribute of
`self`, where nothing else is assigned to it. All else is unknown.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.helpers.edits.targets import class_of, home_of
from rlm.helpers.facts.python import last_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.helpers.edits.bindings import Bindings
    from rlm.helpers.edits.modules import Module
    from rlm.helpers.edits.targets import SourceTree
    from rlm.helpers.facts.scopes import NameScope

_PLAIN_BASES = ("object", "ABC", "Generic", "Protocol", "NamedTuple", "TypedDict")
"""Bases that bring no attributes of a user's."""
_WRAPPERS = ("Optional", "Annotated", "ClassVar", "Final", "Required", "NotRequired", "Type", "type", "ReadOnly")
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class _Said:
    """What code says of a name or an attribute: a value that it gets, or a type by an annotation."""

    node: ast.expr
    is_type: bool = False


@dataclass(slots=True, kw_only=True)
class ClassFamily:
    """A class, and the classes of the tree that are derived from it."""

    tree: SourceTree
    classes: set[tuple[str, NameScope]] = field(default_factory=set)
    """The file and scope of each class."""
    names: list[Bindings] = field(default_factory=list)
    """The names of each class that is at the top of its module."""
    derived: set[tuple[str, NameScope]] = field(default_factory=set)
    """Those of the classes that are derived from another one of them."""
    _said: dict[str, dict[ast.AST, _Said]] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: SourceTree, home: Module, scopes: Iterable[NameScope]) -> ClassFamily:
        """The family of a class, with one scope for each of its definitions."""
        family = cls(tree=tree)
        for scope in scopes:
            family._add(home, scope)
        size = -1
        while size != (size := len(family.classes)):
            for module in tree.modules.values():
                for scope in module.names.scopes:
                    if scope.kind == "class" and (module.name, scope) not in family.classes:
                        family._add_derived(module, scope)
        return family

    def has(self, module: Module, scope: NameScope | None) -> bool:
        """Whether a class is one of the family."""
        return scope is not None and (module.name, scope) in self.classes

    def is_class(self, module: Module, node: ast.expr) -> bool:
        """Whether an expression surely is one of the classes."""
        plain = node.value if isinstance(node, ast.Subscript) else node
        return any(name.is_it(module, plain) for name in self.names)

    def is_member(self, module: Module, node: ast.expr, scope: NameScope, depth: int = 0) -> bool:
        """Whether an expression in a scope surely is an object of the family, or one of its classes."""
        if depth > _DEEPEST:
            return False
        if self.is_class(module, node) or self.has(module, class_of(module, node)):
            return True
        if isinstance(node, ast.Call):
            return self._is_made(module, node, scope)
        if isinstance(node, ast.NamedExpr):
            return self.is_member(module, node.value, scope, depth + 1)
        if isinstance(node, ast.Attribute):
            return self._is_attribute(module, node, depth)
        mention = module.by_node.get(node)
        bound = [] if mention is None else module.names.binding(mention)
        return bool(bound) and all(self._is_said(module, each.node, each.scope, depth) for each in bound)

    def is_in_doubt(self, module: Module, node: ast.expr) -> bool:
        """Whether the code says several things of an expression, of which an inference would take those that it knows:
        `self` in a class with other bases, a name or an attribute of `self` that is assigned more than once."""
        if class_of(module, node) is not None:
            return True
        if isinstance(node, ast.Attribute):
            owner = class_of(module, node.value)
            body = None if owner is None else owner.node
            return isinstance(body, ast.ClassDef) and len([*_said_of_attribute(body, node.attr)]) > 1
        mention = module.by_node.get(node)
        return mention is not None and len(module.names.binding(mention)) > 1

    def _add(self, module: Module, scope: NameScope) -> None:
        self.classes.add((module.name, scope))
        outer = home_of(scope)
        if outer is not None and outer.kind == "module":
            self.names.append(self.tree.bindings.of(scope.qualname, module))

    def _add_derived(self, module: Module, scope: NameScope) -> None:
        """Add a class if it surely gets its attributes from the family and nobody else."""
        bases = scope.node.bases if isinstance(scope.node, ast.ClassDef) else []
        others = [base for base in bases if not self.is_class(module, base)]
        if len(others) < len(bases) and all(_plain_name(base) in _PLAIN_BASES for base in others):
            self.derived.add((module.name, scope))
            self._add(module, scope)

    def _is_made(self, module: Module, call: ast.Call, scope: NameScope) -> bool:
        """Whether a call gives a member: of a class, of `super` in a derived one, or of a function that says so."""
        if isinstance(call.func, ast.Name) and call.func.id == "super" and not call.args:
            return (module.name, _class_around(scope)) in self.derived
        if self.is_class(module, call.func):
            return True
        mention = module.by_node.get(call.func)
        bound = [] if mention is None else module.names.binding(mention)
        functions = [each.node for each in bound if isinstance(each.node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        return (
            bool(functions)
            and len(functions) == len(bound)
            and all(
                isinstance(each, ast.FunctionDef) and each.returns is not None and self._is_type(module, each.returns)
                for each in functions
            )
        )

    def _is_attribute(self, module: Module, node: ast.Attribute, depth: int) -> bool:
        """Whether `self.name` is a member, by all that its class assigns to it."""
        owner = class_of(module, node.value)
        if owner is None or not isinstance(owner.node, ast.ClassDef):
            return False
        said = [*_said_of_attribute(owner.node, node.attr)]
        return bool(said) and all(self._is_one(module, each, owner, depth) for each in said)

    def _is_said(self, module: Module, node: ast.AST, scope: NameScope, depth: int) -> bool:
        """Whether what binds a name makes a member of it."""
        if module.name not in self._said:
            self._said[module.name] = _said_of_names(module.file.tree)
        said = self._said[module.name].get(node)
        return said is not None and self._is_one(module, said, scope, depth)

    def _is_one(self, module: Module, said: _Said, scope: NameScope, depth: int) -> bool:
        return self._is_type(module, said.node) if said.is_type else self.is_member(module, said.node, scope, depth + 1)

    def _is_type(self, module: Module, node: ast.expr) -> bool:
        """Whether an annotation says that something is a member, or None."""
        if isinstance(node, ast.Constant):
            quoted = module.names.quoted.get(node)
            return quoted is not None and self._is_type(module, quoted)
        if isinstance(node, ast.BinOp):
            sides = [side for side in (node.left, node.right) if not _is_none(side)]
            return all(self._is_type(module, side) for side in sides)
        if isinstance(node, ast.Subscript) and last_name(node.value) in _WRAPPERS:
            first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            return self._is_type(module, first)
        return self.is_class(module, node)


def _said_of_names(tree: ast.Module) -> dict[ast.AST, _Said]:
    """What is said of each place that binds a name."""
    said: dict[ast.AST, _Said] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            said |= {target: _Said(node.value) for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign):
            said[node.target] = _Said(node.annotation, is_type=True)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            said[node] = _Said(node.annotation, is_type=True)
        elif isinstance(node, ast.NamedExpr):
            said[node.target] = _Said(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):  # *args and **more are not what is said of each of them
            for each in (node.vararg, node.kwarg):
                if each is not None:
                    said.pop(each, None)
    return said


def _said_of_attribute(owner: ast.ClassDef, name: str) -> Iterator[_Said]:
    """What a class says of an attribute: by annotations in its body, and by what its methods assign to it."""
    for statement in owner.body:
        if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") == name:
            yield _Said(statement.annotation, is_type=True)
    for node in ast.walk(owner):
        if isinstance(node, ast.AnnAssign) and _is_own_attribute(node.target, name):
            yield _Said(node.annotation, is_type=True)
        elif isinstance(node, ast.Assign) and not _is_none(node.value):
            yield from (_Said(node.value) for target in node.targets if _is_own_attribute(target, name))


def _is_own_attribute(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name and getattr(node.value, "id", "") == "self"


def _class_around(scope: NameScope) -> NameScope | None:
    """The class of the method that a scope is in."""
    found: NameScope | None = scope
    while found is not None and found.kind != "function":
        found = found.parent
    return None if found is None else home_of(found)


def _plain_name(base: ast.expr) -> str:
    return last_name(base.value if isinstance(base, ast.Subscript) else base)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
