"""Finds the uses of a class's attribute and of a function's parameter, beyond variables.

If the code tells which object is meant (`self`, a class or function by its name), the use is renamed; if not, it is
listed, as is what the rename would separate: overrides in other classes, fields in patterns.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from rlm.helpers.edits.clashes import Clash
from rlm.helpers.edits.families import ClassFamily
from rlm.helpers.edits.inference import DefinitionPlace
from rlm.helpers.edits.targets import class_of, home_of
from rlm.helpers.facts.python import last_name
from rlm.helpers.facts.scopes import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.helpers.edits.bindings import Bindings
    from rlm.helpers.edits.inference import Inference
    from rlm.helpers.edits.modules import Module
    from rlm.helpers.edits.targets import SourceTree, Target
    from rlm.helpers.facts.scopes import NamedNode, NameScope

    Unsure = dict[ast.Attribute, tuple[Module, NamedNode[ast.Attribute]]]
    """The uses of an attribute on objects whose class the code doesn't tell."""

_COPIES = ("replace", "_replace", "evolve", "copy", "model_copy", "construct", "model_construct", "cls", "type")
"""Functions that take the fields of a class as keywords."""


def add_members(target: Target, inference: Inference) -> None:
    """Add the uses of a target's attribute or parameter: to be renamed, or to be listed."""
    if target.kind == "class":
        _add_attributes(target, inference)
    elif target.is_parameter:
        _add_keywords(target)
    elif target.kind == "module":
        _doubt_fixtures(target)


def _doubt_fixtures(target: Target) -> None:
    """If the target is a pytest fixture, list the parameters of its name, by which tests get it."""
    mentions = [(module, each) for module in target.tree.modules.values() for each in module.mentions(target.tree.old)]
    if any(_is_fixture(each.node) and target.tree.bindings.has(module, each) for module, each in mentions):
        for module, each in mentions:
            if each.role == "param":
                target.doubt(module, each.node)


def _is_fixture(node: ast.AST) -> bool:
    return any(last_name(each) == "fixture" for each in getattr(node, "decorator_list", ()))


def _add_attributes(target: Target, inference: Inference) -> None:
    tree, names = target.tree, _named(target, target.scopes[0])
    assert target.home is not None
    family = ClassFamily.of(tree, target.home, target.scopes)
    for module, part in tree.attributes(tree.new):
        if family.is_member(module, part.node.value, part.scope):
            target.clashes.append(Clash.at(module, part.node, f"the class has an attribute {tree.new!r} already"))
    unsure: Unsure = {}
    for module, part in tree.attributes(tree.old):
        if family.is_member(module, part.node.value, part.scope):
            target.add(module, part)
        else:
            unsure[part.node] = (module, part)
    _add_inferred(target, family, unsure, inference)
    for module, part in unsure.values():
        target.doubt(module, part.node)
    _add_overrides(target, family)
    _doubt_overrides(target, family, tree.old)
    if any(_is_field(where, tree.old) for where in target.scopes):
        _add_fields(target, names)


def _add_inferred(target: Target, family: ClassFamily, unsure: Unsure, inference: Inference) -> None:
    """Add those of the unsure uses of which it can be inferred that they mean the attribute."""
    asked = [
        (module, part.node)
        for module, part in unsure.values()
        if part.within is None and not family.is_in_doubt(module, part.node.value)
    ]
    for _, node in inference.meaning({*_definitions(target, family)}, asked):
        module, part = unsure.pop(node)
        target.add(module, part)
        target.inferred.add((module.name, line_of(node)))


def _definitions(target: Target, family: ClassFamily) -> Iterator[DefinitionPlace]:
    """The places that define the attribute in the classes of a family, in their bodies or through `self`."""
    old = target.tree.old
    for file, scope in family.classes:
        module = target.tree.modules[file]
        for mention in module.names.bound_in(scope, old):
            yield DefinitionPlace(path=module.path, line=mention.line)
    for module, part in target.tree.attributes(old):
        if isinstance(part.node.ctx, ast.Store) and family.has(module, class_of(module, part.node.value)):
            yield DefinitionPlace(path=module.path, line=part.node.end_lineno or 0)


def _add_fields(target: Target, names: list[Bindings]) -> None:
    """Add the keywords that dataclasses and the like make of fields, and class patterns."""
    for module, call, word in target.tree.calls(target.tree.old):
        if any(name.is_it(module, call.node.func) for name in names):
            target.add(module, word)
        elif _may_make(call.node.func):
            target.doubt(module, word.node)
    for module in target.tree.modules.values():
        for node in ast.walk(module.file.tree):
            if isinstance(node, ast.MatchClass) and target.tree.old in node.kwd_attrs:
                target.doubt(module, node)


def _add_overrides(target: Target, family: ClassFamily) -> None:
    """Add the definitions of the attribute in the classes that are derived from its own."""
    tree = target.tree
    for file, scope in family.derived:
        module = tree.modules[file]
        if module.names.bound_in(scope, tree.old):
            tree.bindings.add(file, scope)
        if taken := module.names.bound_in(scope, tree.new):
            target.clashes.append(Clash.at(module, taken[0].node, f"a class has an attribute {tree.new!r} already"))


def _named(target: Target, where: NameScope) -> list[Bindings]:
    """The names of a class or function in all modules, if it is at the top of its own."""
    outer = home_of(where)
    if target.home is None or outer is None or outer.kind != "module":
        return []
    return [target.tree.bindings.of(where.qualname, target.home)]


def _is_field(where: NameScope, name: str) -> bool:
    """Whether a class has a field of that name: an annotated name, without a constructor in the class."""
    body = where.node.body if isinstance(where.node, ast.ClassDef) else []
    annotated = (each.target for each in body if isinstance(each, ast.AnnAssign))
    made = any(isinstance(each, ast.FunctionDef) and each.name == "__init__" for each in body)
    return not made and any(isinstance(each, ast.Name) and each.id == name for each in annotated)


def _doubt_overrides(target: Target, family: ClassFamily, name: str, parameter: str = "") -> None:
    """List the definitions of the same name in classes that could be subclasses, bases or siblings of these."""
    derived = any(_has_bases(where) for _, where in family.classes - family.derived)
    for module in target.tree.modules.values():
        for scope in module.names.scopes:
            outer = home_of(scope)
            holder = outer if parameter else scope
            if holder is None or holder.kind != "class" or not (derived or _has_bases(holder)):
                continue
            if family.has(module, holder) and (not parameter or (module.name, holder) not in family.derived):
                continue
            if parameter and (scope.kind != "function" or getattr(scope.node, "name", "") != name):
                continue
            for mention in module.names.bound_in(scope, parameter or name)[:1]:
                target.doubt(module, mention.node)


def _has_bases(where: NameScope) -> bool:
    bases = where.node.bases if isinstance(where.node, ast.ClassDef) else []
    return any(getattr(base, "id", "") != "object" for base in bases)


def _add_keywords(target: Target) -> None:
    tree, where = target.tree, target.scopes[0]
    outer = home_of(where)
    function = getattr(where.node, "name", "")
    is_method = outer is not None and outer.kind == "class"
    made = outer if is_method and function in ("__init__", "__new__") else None
    names = _named(target, where if made is None else made)
    for module, call, word in tree.calls(tree.new):
        if _calls_it(target, where, names, module, call.node.func):
            target.clashes.append(Clash.at(module, word.node, f"{tree.new!r} is given to {function} here already"))
    for module, call, word in tree.calls(tree.old):
        if _calls_it(target, where, names, module, call.node.func):
            target.add(module, word)
        elif function in _called(call.node) or (made is not None and _may_make(call.node.func)):
            target.doubt(module, word.node)
    known_as = {function} if made is None else {getattr(made.node, "name", function)}
    for module, node in _calls_with_stars(tree):
        if last_name(node.func) in known_as:
            target.doubt(module, node)
    if is_method and made is None and outer is not None:
        assert target.home is not None
        _doubt_overrides(target, ClassFamily.of(tree, target.home, [outer]), function, parameter=tree.old)


def _calls_with_stars(tree: SourceTree) -> Iterator[tuple[Module, ast.Call]]:
    """The calls with `**`, which may pass any keyword."""
    for module in tree.modules.values():
        for node in ast.walk(module.file.tree):
            if isinstance(node, ast.Call) and any(word.arg is None for word in node.keywords):
                yield module, node


def _called(call: ast.Call) -> Iterator[str]:
    """The names of the function called, and of those passed to it: `partial(f, old=1)`."""
    yield last_name(call.func)
    yield from map(last_name, call.args)


def _may_make(called: ast.expr) -> bool:
    return last_name(called)[:1].isupper() or last_name(called) in _COPIES


def _calls_it(target: Target, where: NameScope, names: list[Bindings], module: Module, called: ast.expr) -> bool:
    """Whether a call surely calls the function: by its name, through `self`, or as a constructor by its class."""
    outer, function = home_of(where), getattr(where.node, "name", "")
    if names or outer is None or module is not target.home:
        return any(name.is_it(module, called) for name in names)
    if outer.kind == "class":
        return isinstance(called, ast.Attribute) and called.attr == function and class_of(module, called.value) is outer
    mention = module.by_node.get(called)
    return mention is not None and mention.name == function and module.names.owner(mention) is outer
