"""What a rename is of, as its caller names it: the name of every module, of one, or of one function or class in it.

For parameters it finds the calls that give them by name, for attributes of a class the uses through `self`. Calls and
attributes whose object can't be told from the code are listed, not changed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.transform_bindings import Bindings, definitions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.helpers.code_scopes import Part, Scope
    from rlm.helpers.transform_bindings import Module
    from rlm.helpers.transform_modules import Modules


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be renamed."""

    bindings: Bindings
    others: dict[str, list[ast.AST]] = field(default_factory=dict)
    """By file: attributes and keywords that are no variables."""
    unsure: list[str] = field(default_factory=list)
    """`file:line` of attributes and keywords of that name that may be meant too."""


def target_of(modules: Mapping[str, Module], index: Modules, old: str, place: str) -> Target:
    """The bindings of a name, those that imports make of them included; with no place, of every module.

    Raises:
        ToolError: there is no such place, or it has no such name.
    """
    bindings = Bindings(modules, index, old)
    if not place:
        for module, where in definitions(modules.values(), old):
            if where.kind == "module":
                bindings.add(module.name, where)
        bindings.follow_imports()
        return Target(bindings=bindings)
    file, _, qualname = place.partition("::")
    module, where = _named(modules, file, qualname, old)
    bindings.add(module.name, where)
    if where.kind == "module":
        bindings.follow_imports()
        return Target(bindings=bindings)
    target = Target(bindings=bindings)
    if where.kind == "class":
        _add_attributes(target, modules, module, where, old)
    elif any(each.role == "param" for each in module.names.bound_in(where, old)):
        _add_keywords(target, modules, module, where, old)
    return target


def place_of(module: Module, scope: Scope, name: str) -> str:
    """A name as callers give it with its place: `a.py::Class.name`."""
    return f"{module.name}::{scope.qualname}.{name}" if scope.qualname else f"{module.name}::{name}"


def _named(modules: Mapping[str, Module], file: str, qualname: str, old: str) -> tuple[Module, Scope]:
    module = modules.get(file.removeprefix("./"))
    if module is None:
        raise ToolError(f"old_name: there is no {shown(file)} that mentions {old}; write it as in the results, a/b.py.")
    wanted = qualname.replace(".<locals>", "")
    for scope in module.names.scopes:
        if (
            scope.qualname == wanted
            and scope.kind in ("module", "class", "function")
            and module.names.bound_in(scope, old)
        ):
            return module, scope
    places = [place_of(module, scope, old) for scope in module.names.scopes if module.names.bound_in(scope, old)]
    raise ToolError(f"old_name: {shown(qualname)} has no name {old}. There is: {', '.join(places) or 'none'}.")


def _add_attributes(target: Target, modules: Mapping[str, Module], home: Module, where: Scope, old: str) -> None:
    """The uses of a class's attribute through the first parameter of its methods, and through its name."""
    for module, part in _parts_of(modules, "attributes", old):
        if module is home and _is_own(part, where):
            target.others.setdefault(module.name, []).append(part.node)
        else:
            target.unsure.append(f"{module.name}:{part.node.lineno}")


def _is_own(part: Part[ast.Attribute], where: Scope) -> bool:
    value = part.node.value
    if not isinstance(value, ast.Name):
        return False
    scope: Scope | None = part.scope
    while scope is not None:
        if scope.parent is where and scope.kind == "function":
            return value.id in ("self", "cls")
        scope = scope.parent
    return value.id == where.qualname and where.parent is not None and where.parent.kind == "module"


def _add_keywords(target: Target, modules: Mapping[str, Module], home: Module, where: Scope, old: str) -> None:
    """The calls that give a parameter by its name: of a module's function by name, of a method through self."""
    function = where.qualname.rpartition(".")[2]
    for module, part in _parts_of(modules, "calls", old):
        called = part.node.func
        keyword = next(each for each in part.node.keywords if each.arg == old)
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
        if name != function:
            continue
        if _calls_it(target.bindings, module, home, where, called):
            target.others.setdefault(module.name, []).append(keyword)
        else:
            target.unsure.append(f"{module.name}:{keyword.lineno}")


def _calls_it(bindings: Bindings, module: Module, home: Module, where: Scope, called: ast.expr) -> bool:
    parent = where.parent
    if parent is None or parent.kind not in ("module", "class"):
        return False
    if isinstance(called, ast.Attribute):
        own_class = module is home and parent.kind == "class"
        if own_class and isinstance(called.value, ast.Name) and called.value.id in ("self", "cls"):
            return True
        return parent.kind == "module" and bindings.module_of(module, called.value) == home.name
    if parent.kind != "module" or not isinstance(called, ast.Name):
        return False
    return bindings.means(module, called, home)


def _parts_of(modules: Mapping[str, Module], kind: str, old: str) -> Iterator[tuple[Module, Part]]:  # type: ignore[type-arg]
    for module in modules.values():
        for part in getattr(module.names, kind):
            named = [each.arg for each in part.node.keywords] if kind == "calls" else [part.node.attr]
            if old in named:
                yield module, part
