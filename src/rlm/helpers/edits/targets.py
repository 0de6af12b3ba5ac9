"""Finds the target of a rename, as its caller names it: a name in all modules, in one, or in a function or class."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.edits.bindings import Bindings, definitions
from rlm.helpers.facts.scopes import NamedNode, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.helpers.edits.clashes import Clash
    from rlm.helpers.edits.modules import Module
    from rlm.helpers.facts.scopes import Kind, Mention, NameScope


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """The modules that mention a name, with its bindings and its new name."""

    modules: Mapping[str, Module]
    bindings: Bindings
    old: str
    new: str

    def attributes(self, name: str) -> Iterator[tuple[Module, NamedNode[ast.Attribute]]]:
        """Every attribute `x.name`."""
        for module in self.modules.values():
            yield from ((module, part) for part in module.names.attributes if part.node.attr == name)

    def calls(self, name: str) -> Iterator[tuple[Module, NamedNode[ast.Call], NamedNode[ast.keyword]]]:
        """Every call with that name as a keyword, and the keyword."""
        for module in self.modules.values():
            for part in module.names.calls:
                for word in part.node.keywords:
                    if word.arg == name:
                        yield module, part, NamedNode(word, part.scope, part.within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be renamed."""

    tree: SourceTree
    home: Module | None = None
    """The module that the caller named, to which `scopes` belong; None for all modules."""
    scopes: tuple[NameScope, ...] = ()
    """The scopes that were named: several if a function or class is defined more than once, as overloads are."""
    others: dict[str, list[NamedNode[ast.AST]]] = field(default_factory=dict)
    """Attributes and keywords to rename with the variables, by file."""
    unsure: set[tuple[str, int]] = field(default_factory=set)
    """The file and line of uses that may be meant too, which the code doesn't tell."""
    inferred: set[tuple[str, int]] = field(default_factory=set)
    """The file and line of uses that are renamed for what was inferred of their objects."""
    clashes: list[Clash] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """The kind of the scopes, which all have the same."""
        return self.scopes[0].kind if self.scopes else "module"

    @property
    def is_parameter(self) -> bool:
        """Whether one of the scopes has the name as a parameter."""
        return self.kind == "function" and any(
            each.role == "param" for where in self.scopes for each in self.bound(where)
        )

    def bound(self, scope: NameScope) -> list[Mention]:
        """The mentions that bind the name in a scope of the module that was named."""
        return [] if self.home is None else self.home.names.bound_in(scope, self.tree.old)

    def add(self, module: Module, part: NamedNode[ast.AST]) -> None:
        """Add an attribute or a keyword to rename."""
        self.others.setdefault(module.name, []).append(part)

    def doubt(self, module: Module, node: ast.AST) -> None:
        """Add a place for a check by hand."""
        self.unsure.add((module.name, line_of(node)))


def target_of(tree: SourceTree, place: str) -> Target:
    """The bindings of a name at a place, with those that imports make of them; without a place, those of all modules.

    Raises:
        ToolError: the place doesn't exist, or doesn't have the name.
    """
    if not place:
        for module, where in definitions(tree.modules.values(), tree.old):
            if where.kind == "module":
                tree.bindings.add(module.name, where)
        tree.bindings.follow_imports()
        return Target(tree=tree)
    file, _, qualname = place.partition("::")
    home, scopes = _named(tree, file, qualname)
    for where in scopes:
        tree.bindings.add(home.name, where)
    if scopes[0].kind == "module":
        tree.bindings.follow_imports()
    return Target(tree=tree, home=home, scopes=scopes)


def holder_of(place: str) -> str:
    """The top-level function or class that a parameter or attribute belongs to; empty for none."""
    first, _, second = place.partition("::")[2].partition(".")
    return first if second in ("", "__init__", "__new__") else ""


def places_of(modules: Mapping[str, Module], name: str) -> Iterator[str]:
    """The places where a name is bound, as callers write them."""
    for module, scope in definitions(modules.values(), name):
        yield _place(module, scope, name)
    for module in modules.values():
        own = {_place(module, scope, name): None for scope in module.names.scopes if _assigns(module, scope, name)}
        yield from own


def class_of(module: Module, value: ast.expr) -> NameScope | None:
    """The class of `self`, if an expression is the first parameter of a method; else None."""
    if not isinstance(value, ast.Name) or value.id not in ("self", "cls"):
        return None
    mention = module.by_node.get(value)
    owner = None if mention is None else module.names.owner(mention)
    if owner is None or any(each.role != "param" for each in module.names.bound_in(owner, value.id)):
        return None
    return home_of(owner) if owner.kind == "function" else None


def home_of(scope: NameScope) -> NameScope | None:
    """The scope in which a function or class is defined, apart from that of its type parameters."""
    found = scope.parent
    while found is not None and found.kind == "types":
        found = found.parent
    return found


def _place(module: Module, scope: NameScope, name: str) -> str:
    return f"{module.name}::{scope.qualname}.{name}" if scope.qualname else f"{module.name}::{name}"


def _named(tree: SourceTree, file: str, qualname: str) -> tuple[Module, tuple[NameScope, ...]]:
    module = tree.modules.get(file.removeprefix("./"))
    if module is None:
        raise ToolError(
            f"old_name: there is no {shown(file)} that mentions {tree.old}; write it as in the results, a/b.py."
        )
    wanted = qualname.replace(".<locals>", "")
    kinds = ("module", "class", "function", "types")
    scopes = [scope for scope in module.names.scopes if scope.qualname == wanted and scope.kind in kinds]
    scopes.sort(key=lambda scope: scope.kind == "types")
    found = [scope for scope in scopes if module.names.bound_in(scope, tree.old)]
    found = found or [scope for scope in scopes if _assigns(module, scope, tree.old)]
    if not found:
        there = ", ".join(places_of({file: module}, tree.old)) or "none"
        raise ToolError(f"old_name: {shown(qualname or file)} has no name {tree.old}. There is: {there}.")
    return module, tuple(scope for scope in found if scope.kind == found[0].kind)


def _assigns(module: Module, scope: NameScope, name: str) -> bool:
    """Whether a class has an attribute only by `self.name = ...`."""
    if scope.kind != "class" or module.names.bound_in(scope, name):
        return False
    stored = (part.node for part in module.names.attributes if isinstance(part.node.ctx, ast.Store))
    return any(node.attr == name and class_of(module, node.value) is scope for node in stored)
