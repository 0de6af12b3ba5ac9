"""Finds what a rename affects: the bindings of a name in a tree of modules, and every mention of one of them.

Follows imports (re-exports, star imports, attributes of modules) from file to file until it finds no more. Changes
nothing.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rlm.helpers.edits.import_paths import ImportPaths
    from rlm.helpers.edits.modules import Module
    from rlm.helpers.facts.scopes import Mention, NameScope


class Bindings:
    """The bindings of `old` that are renamed together."""

    def __init__(self, modules: Mapping[str, Module], paths: ImportPaths, old: str) -> None:
        self._modules = modules
        self._paths = paths
        self._old = old
        self._scopes: set[tuple[str, NameScope]] = set()
        self._homes: set[str] = set()
        self._starred: set[str] = set()
        """Files that have the name only by a star import."""

    def add(self, file: str, scope: NameScope) -> None:
        """Add the binding in a scope of a file."""
        self._scopes.add((file, scope))
        self._homes.add(file)

    def follow_imports(self) -> None:
        """Add the bindings that imports of these bindings make, until there are no more."""
        size = -1
        while size != (size := len(self._scopes) + len(self._starred)):
            for module in self._modules.values():
                for mention in module.mentions(self._old):
                    if self.imports_it(module, mention):
                        self._scopes.add((module.name, module.names.owner(mention) or module.names.module))
                if any(self.brings(module, star) for star in module.names.stars):
                    self._starred.add(module.name)

    def has(self, module: Module, mention: Mention) -> bool:
        """Whether a mention refers to one of the bindings."""
        owner = module.names.owner(mention)
        if owner is None:
            return module.name in self._starred
        return (module.name, owner) in self._scopes

    def exports(self, file: str | None) -> bool:
        """Whether one of the bindings is a global name of a module."""
        if file is None or file not in self._modules:
            return False
        names = self._modules[file].names
        if names.bound_in(names.module, self._old):
            return (file, names.module) in self._scopes
        return file in self._starred

    def is_starred(self, module: Module) -> bool:
        """Whether a star import brings one of the bindings into a module."""
        return module.name in self._starred

    def brings(self, module: Module, star: ast.ImportFrom) -> bool:
        """Whether a star import brings one of the bindings."""
        target = self._target(module, star)
        return target is not None and self.exports(target) and self._modules[target].brings_by_star(self._old)

    def has_all(self, module: Module, star: ast.ImportFrom) -> bool:
        """Whether the module of a star import has `__all__`."""
        target = self._target(module, star)
        return target is not None and target in self._modules and self._modules[target].has_all

    def imports_it(self, module: Module, mention: Mention) -> bool:
        """Whether a mention is `from m import old` of a module that exports one of the bindings."""
        if not isinstance(mention.node, ast.alias) or mention.node.name != self._old:
            return False
        return self.imports_from_it(module, mention.node, mention.statement)

    def imports_from_it(self, module: Module, node: ast.AST, statement: ast.Import | ast.ImportFrom | None) -> bool:
        """Whether an import is from a module that exports one of the bindings."""
        if not isinstance(statement, ast.ImportFrom) or not isinstance(node, ast.alias):
            return False
        return self.exports(self._target(module, statement))

    def is_attribute(self, module: Module, node: ast.Attribute) -> bool:
        """Whether `m.name` is a name in a module that exports one of the bindings."""
        return self.exports(self.module_of(module, node.value))

    def module_of(self, module: Module, node: ast.expr) -> str | None:
        """The file of the module that an expression refers to; None if it is not in the workspace."""
        dotted = self._dotted(module, node)
        return None if dotted is None else self._paths.file_of(dotted, module.name)

    def is_it(self, module: Module, node: ast.expr) -> bool:
        """Whether an expression surely refers to one of the bindings: by a name, an import or a module's attribute."""
        if isinstance(node, ast.Attribute):
            return node.attr == self._old and self.is_attribute(module, node)
        mention = module.by_node.get(node)
        if mention is None:
            return False
        if mention.name == self._old and (module.name in self._homes or module.names.owner(mention) is None):
            return self.has(module, mention)
        bound = module.names.binding(mention)
        return bool(bound) and all(self.imports_it(module, each) for each in bound)

    def of(self, name: str, home: Module) -> Bindings:
        """The bindings of another name, starting from a module's own."""
        found = Bindings(self._modules, self._paths, name)
        found.add(home.name, home.names.module)
        found.follow_imports()
        return found

    def _dotted(self, module: Module, node: ast.expr) -> str | None:
        if isinstance(node, ast.Attribute):
            before = self._dotted(module, node.value)
            return None if before is None else f"{before}.{node.attr}"
        mention = module.by_node.get(node)
        owner = None if mention is None else module.names.owner(mention)
        if mention is None or owner is None:
            return None
        found = {_imported(each) for each in module.names.bound_in(owner, mention.name)}
        meant = {each for each in found if each is not None and self._paths.file_of(each, module.name)}
        # `import a.b` and `import a.c` bind the same `a`; where something else binds it too, it may be anything.
        return meant.pop() if len(meant) == 1 and None not in found else None

    def _target(self, module: Module, statement: ast.ImportFrom) -> str | None:
        return self._paths.file_of("." * statement.level + (statement.module or ""), module.name)


def definitions(modules: Iterable[Module], name: str) -> Iterator[tuple[Module, NameScope]]:
    """The scopes that bind a name by more than an import."""
    for module in modules:
        owners = {
            owner: None
            for each in module.mentions(name)
            if each.role != "import" and module.names.binds(each) and (owner := module.names.owner(each)) is not None
        }
        yield from ((module, owner) for owner in owners)


def _imported(mention: Mention) -> str | None:
    """The module that an import binds; of `from p import m`, as if `m` were a module."""
    alias, statement = mention.node, mention.statement
    if not isinstance(alias, ast.alias) or statement is None:
        return None
    if isinstance(statement, ast.Import):
        return alias.name if alias.asname else alias.name.partition(".")[0]
    prefix = "." * statement.level + (statement.module or "")
    return prefix + alias.name if prefix.endswith(".") else f"{prefix}.{alias.name}"
