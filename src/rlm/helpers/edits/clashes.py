"""Finds what a new name would come to mean in modules beyond the edited ones: by imports, stars and submodules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.helpers.facts.scopes import line_of

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Mapping

    from rlm.helpers.edits.bindings import Bindings
    from rlm.helpers.edits.import_paths import ImportPaths
    from rlm.helpers.edits.modules import Module
    from rlm.helpers.facts.scopes import Mention


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A place where the rename would change what the code means."""

    file: str
    line: int
    why: str

    @classmethod
    def at(cls, module: Module, node: ast.AST, why: str) -> Clash:
        """The clash at a node of a module."""
        return cls(file=module.name, line=line_of(node), why=why)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


def clashes_over_files(
    modules: Mapping[str, Module], paths: ImportPaths, bindings: Bindings, old: str, new: str
) -> Iterator[Clash]:
    """Find modules that get the new name but already export something else by it, or bring it by a star import."""
    for module in modules.values():
        yield from _taken(module, bindings, new)
        if bindings.exports(module.name) and module.is_package and paths.file_of(f".{new}", module.name):
            yield Clash.at(module, module.file.tree, f"the package has a module {new!r}")
        if new.startswith("_"):
            yield from _no_longer_brought(module, bindings, old)


def _taken(module: Module, bindings: Bindings, new: str) -> Iterator[Clash]:
    """Find uses of the new name in a module that is about to get it."""
    for mention in module.mentions(new):
        if bindings.imports_from_it(module, mention.node, mention.statement) or _by_star(module, bindings, mention):
            yield Clash.at(module, mention.node, f"{new!r} already means something here")
    for statement, alias in module.names.imports:
        if alias.name == new and bindings.imports_from_it(module, alias, statement):
            yield Clash.at(module, alias, f"{new!r} already means something in that module")
    for part in module.names.attributes:
        if part.node.attr == new and bindings.is_attribute(module, part.node):
            yield Clash.at(module, part.node, f"{new!r} already means something in that module")


def _by_star(module: Module, bindings: Bindings, mention: Mention) -> bool:
    return bindings.is_starred(module) and module.names.owner(mention) in (None, module.names.module)


def _no_longer_brought(module: Module, bindings: Bindings, old: str) -> Iterator[Clash]:
    """Find names with an underscore that a star import would have to bring from a module without `__all__`."""
    stars = [
        star for star in module.names.stars if bindings.brings(module, star) and not bindings.has_all(module, star)
    ]
    used = [each for each in module.mentions(old) if bindings.has(module, each) and module.names.owner(each) is None]
    if stars and used:
        yield Clash.at(
            module, used[0].node, f"line {stars[0].lineno} imports *, which brings no name with an underscore"
        )
