"""Finds what a rename concerns: the bindings of a name in a tree of modules, and every mention that means one of them.

Follows imports (re-exports, star imports, attributes of modules) from file to file until nothing is added. Changes
nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.helpers.code_scopes import Names, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rlm.helpers.code_scopes import Mention
    from rlm.helpers.transform_modules import Modules
    from rlm.helpers.transform_python import PythonFile


@dataclass(slots=True, kw_only=True, eq=False)
class Module:
    """A file that mentions the name, or passes names on by a star import."""

    file: PythonFile
    names: Names
    by_node: dict[int, Mention] = field(default_factory=dict)

    @classmethod
    def of(cls, file: PythonFile, wanted: set[str]) -> Module:
        """Read the mentions of the wanted names, and of what stands before a dot and one of them."""
        bases = {base for node in ast.walk(file.tree) if (base := _base(node, wanted))}
        names = Names(file.tree, wanted | bases)
        return cls(file=file, names=names, by_node={id(each.node): each for each in names.mentions})

    @property
    def name(self) -> str:
        return self.file.name

    def mentions(self, name: str) -> Iterator[Mention]:
        return (each for each in self.names.mentions if each.name == name)


class Bindings:
    """The bindings of `old` that are renamed together."""

    def __init__(self, modules: Mapping[str, Module], index: Modules, old: str) -> None:
        self._modules = modules
        self._index = index
        self._old = old
        self._scopes: set[tuple[str, Scope]] = set()
        self._starred: set[str] = set()
        """Files that have the name by a star import alone."""

    def add(self, file: str, scope: Scope) -> None:
        self._scopes.add((file, scope))

    def __bool__(self) -> bool:
        return bool(self._scopes)

    def follow_imports(self) -> None:
        """Add the bindings that imports of what is bound make, until there are no more."""
        size = -1
        while size != (size := len(self._scopes) + len(self._starred)):
            for module in self._modules.values():
                for mention in module.mentions(self._old):
                    if self.imports_it(module, mention):
                        self.add(module.name, module.names.owner(mention) or module.names.module)
                if any(self.exports(self._target(module, star)) for star in module.names.stars):
                    self._starred.add(module.name)

    def has(self, module: Module, mention: Mention) -> bool:
        """Whether a mention of the name means one of the bindings."""
        owner = module.names.owner(mention)
        if owner is None:
            return module.name in self._starred
        return (module.name, owner) in self._scopes

    def exports(self, file: str | None) -> bool:
        """Whether a module has one of the bindings as a name of its own."""
        if file is None or file not in self._modules:
            return False
        return file in self._starred or (file, self._modules[file].names.module) in self._scopes

    def imports_it(self, module: Module, mention: Mention) -> bool:
        """Whether a mention is `from m import old` of a module that exports one of the bindings."""
        node, statement = mention.node, mention.statement
        if not isinstance(statement, ast.ImportFrom) or not isinstance(node, ast.alias) or node.name != self._old:
            return False
        return self.exports(self._target(module, statement))

    def takes_it(self, module: Module, statement: ast.ImportFrom) -> bool:
        """Whether what `statement` imports under the old name is one of the bindings."""
        return self.exports(self._target(module, statement))

    def is_attribute(self, module: Module, node: ast.Attribute) -> bool:
        """Whether `m.old` is the name in a module that exports one of the bindings."""
        meant = self.module_of(module, node.value)
        return self.exports(meant)

    def module_of(self, module: Module, node: ast.expr) -> str | None:
        """The file of the module that an expression means, if it means one of the workspace."""
        dotted = self._dotted(module, node)
        return None if dotted is None else self._index.of_import(dotted, module.name)

    def means(self, module: Module, node: ast.Name, home: Module) -> bool:
        """Whether a name means the module-level one of the same name in `home`, there or by a plain import of it."""
        mention = module.by_node.get(id(node))
        owner = None if mention is None else module.names.owner(mention)
        if owner is None:
            return False
        if module is home:
            return owner is home.names.module
        bound = module.names.bound_in(owner, node.id)
        return bool(bound) and all(self._comes_from(module, each, home) for each in bound)

    def _comes_from(self, module: Module, mention: Mention, home: Module) -> bool:
        node, statement = mention.node, mention.statement
        if not isinstance(statement, ast.ImportFrom) or not isinstance(node, ast.alias):
            return False
        return node.name == mention.name and self._target(module, statement) == home.name

    def _dotted(self, module: Module, node: ast.expr) -> str | None:
        if isinstance(node, ast.Attribute):
            before = self._dotted(module, node.value)
            return None if before is None else f"{before}.{node.attr}"
        mention = module.by_node.get(id(node))
        owner = None if mention is None else module.names.owner(mention)
        if mention is None or owner is None:
            return None
        found = {_imported(each) for each in module.names.bound_in(owner, mention.name)}
        meant = {each for each in found if each is not None and self._index.of_import(each, module.name)}
        # `import a.b` and `import a.c` bind the same `a`; where something else binds it too, it may be anything.
        return meant.pop() if len(meant) == 1 and None not in found else None

    def _target(self, module: Module, statement: ast.ImportFrom) -> str | None:
        return self._index.of_import("." * statement.level + (statement.module or ""), module.name)


def definitions(modules: Iterable[Module], name: str) -> Iterator[tuple[Module, Scope]]:
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


def _base(node: ast.AST, wanted: set[str]) -> str | None:
    """The name before the first dot of an attribute, or of what is called with a keyword, of a wanted name."""
    if isinstance(node, ast.Call) and any(keyword.arg in wanted for keyword in node.keywords):
        inner: ast.expr = node.func
    elif isinstance(node, ast.Attribute) and node.attr in wanted:
        inner = node
    else:
        return None
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return inner.id if isinstance(inner, ast.Name) else None
