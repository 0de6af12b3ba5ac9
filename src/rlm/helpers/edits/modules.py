"""A module of a workspace as a rename sees it: its file, its mentions, and what a star import of it brings."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.helpers.facts.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rlm.helpers.edits.python_files import PythonFile
    from rlm.helpers.facts.scopes import Mention

_ALL = "__all__"


@dataclass(slots=True, kw_only=True, eq=False)
class Module:
    """A file that mentions the name, or passes names on by a star import."""

    file: PythonFile
    names: Names
    by_node: dict[ast.AST, Mention]

    @classmethod
    def of(cls, file: PythonFile, wanted: set[str], *, every: bool = False) -> Module:
        """Read the mentions of the wanted names, and of names before a dot and a wanted one; or of `every` name."""
        if every:
            wanted = {*wanted, *_every_name(file.tree)}
        names = Names(file.tree, wanted | {_ALL})
        bases = {_first(part.node) for part in names.attributes} | {_first(part.node.func) for part in names.calls}
        if bases - {None}:
            names = Names(file.tree, {*wanted, _ALL, *(base for base in bases if base)})
        return cls(file=file, names=names, by_node={each.node: each for each in names.mentions})

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def path(self) -> Path:
        return self.file.source.place.path

    def mentions(self, name: str) -> Iterator[Mention]:
        return (each for each in self.names.mentions if each.name == name)

    @property
    def is_package(self) -> bool:
        return self.name.rpartition("/")[2].startswith("__init__.")

    @property
    def has_all(self) -> bool:
        """Whether an `__all__` says what a star import brings."""
        return bool(self.names.bound_in(self.names.module, _ALL))

    def brings_by_star(self, name: str) -> bool:
        """Whether a star import brings a name of this module, as far as can be told."""
        if not self.has_all:
            return not name.startswith("_")
        if any(each.role == "exported" for each in self.mentions(name)):
            return True
        return any(each.role == "load" for each in self.mentions(_ALL)) or not all(map(_is_plain, _all_values(self)))


def _every_name(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value  # a quoted annotation


def _first(node: ast.expr) -> str | None:
    """The name before the first dot."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _all_values(module: Module) -> Iterator[ast.expr]:
    """The expressions assigned to `__all__`."""
    for node in ast.walk(module.file.tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == _ALL for target in targets):
                yield node.value


def _is_plain(node: ast.expr) -> bool:
    """Whether an expression is a literal list of names."""
    plain = (ast.List, ast.Tuple, ast.Constant, ast.BinOp, ast.Add, ast.Load)
    return all(isinstance(each, plain) for each in ast.walk(node))
