"""Makes the edits of a rename in one module, and proves them: afterwards every mention means what it meant before."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.helpers.code_scopes import Names
from rlm.helpers.transform_spans import Layout, Renaming, Span, Unlocatable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.helpers.code_scopes import Mention
    from rlm.helpers.transform_bindings import Bindings, Module

Key = tuple[int | None, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A place where the rename would change what the code means."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """The spans to replace in one module, and the mentions that they are for."""

    spans: tuple[Span, ...]
    renamed: frozenset[int]
    """The numbers of the mentions that get the new name."""


class Editor:
    """Renames one set of bindings in one module after the other."""

    def __init__(self, bindings: Bindings, old: str, new: str) -> None:
        self._bindings = bindings
        self._old = old
        self._new = new

    def edits(self, module: Module, others: Iterable[ast.AST] = ()) -> Edits:
        """What is to be replaced; `others` are nodes (attributes, keywords) that are renamed too.

        Raises:
            Unlocatable: a place can't be changed for certain.
        """
        renaming = Renaming(layout=module.file.layout, old=self._old, new=self._new)
        meant = [each for each in module.mentions(self._old) if self._bindings.has(module, each)]
        _refuse_mangled(meant, self._old, self._new)
        found = [span for each in meant if each.within is None for span in self._of_mention(module, each, renaming)]
        for statement, alias in module.names.imports:
            if alias.name == self._old and self._bindings.takes_it(module, statement):
                found.append(renaming.alias(alias, source=True))
        nodes = [*self._attributes(module), *others]
        inside = {id(node): within for node, within in _inside(module.file.tree, self._old)}
        found += [renaming.name(node) for node in nodes if id(node) not in inside]
        counts = Counter(each.within for each in meant if each.within is not None)
        counts.update(inside[id(node)] for node in nodes if id(node) in inside)
        for within, count in counts.items():
            found += _in_f_string(renaming, within, count)
        return Edits(spans=tuple(dict.fromkeys(found)), renamed=frozenset(each.number for each in meant))

    def _attributes(self, module: Module) -> list[ast.AST]:
        parts = (part for part in module.names.attributes if part.node.attr == self._old)
        return [part.node for part in parts if self._bindings.is_attribute(module, part.node)]

    def _of_mention(self, module: Module, mention: Mention, renaming: Renaming) -> Iterator[Span]:
        node = mention.node
        if isinstance(node, ast.alias):
            yield from self._of_import(module, mention, node, renaming)
        elif isinstance(node, ast.Constant):
            yield from renaming.text(node)
        else:
            yield renaming.name(node)

    def _of_import(self, module: Module, mention: Mention, alias: ast.alias, renaming: Renaming) -> Iterator[Span]:
        if self._bindings.imports_it(module, mention):
            yield renaming.alias(alias, source=True)
            if alias.asname is not None:
                yield renaming.alias(alias, source=False)
        elif alias.asname is None and "." in alias.name:
            raise Unlocatable(alias.lineno, f"`import {alias.name}` cannot be given another name")
        else:
            yield renaming.alias(alias, source=False)

    def clashes(self, module: Module, edits: Edits, after: ast.Module) -> Iterator[Clash]:
        """Where a mention would mean another binding than before, or two bindings would become one."""
        pair = (self._old, self._new)
        before = [each for each in module.names.mentions if each.name in pair]
        names = Names(after, pair)
        forth: dict[Key, Key] = {}
        back: dict[Key, Key] = {}
        if len(before) != len(names.mentions):
            yield Clash(file=module.name, line=1, why="what is renamed would no longer be the same names")
            return
        for one, other in zip(before, names.mentions, strict=True):
            key, changed = _key(module.names, one), _key(names, other)
            expected = self._new if one.number in edits.renamed else one.name
            same = one.role == other.role and other.name == expected
            if not same or forth.setdefault(key, changed) != changed or back.setdefault(changed, key) != key:
                line = getattr(one.node, "lineno", 1)
                yield Clash(file=module.name, line=line, why=f"{self._new!r} already means something here")
                return


def _key(names: Names, mention: Mention) -> Key:
    owner = names.owner(mention)
    return (None if owner is None else owner.number), mention.name


def _refuse_mangled(mentions: Iterable[Mention], old: str, new: str) -> None:
    """Names that Python changes inside of classes are not followed.

    Raises:
        Unlocatable: one is mentioned in a class.
    """
    if not any(name.startswith("__") and not name.endswith("__") for name in (old, new)):
        return
    for mention in mentions:
        scope = mention.scope
        while scope.parent is not None and scope.kind != "class":
            scope = scope.parent
        if scope.kind == "class":
            raise Unlocatable(getattr(mention.node, "lineno", 1), "names with two underscores are private to a class")


def _inside(tree: ast.Module, name: str) -> Iterator[tuple[ast.AST, ast.JoinedStr]]:
    """Attributes and keywords of that name in f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for each in ast.walk(node):
                if getattr(each, "attr", getattr(each, "arg", None)) == name:
                    yield each, node


def _in_f_string(renaming: Renaming, node: ast.JoinedStr, count: int) -> list[Span]:
    """The spans of a name in an f-string, where the parser gives no exact positions.

    Raises:
        Unlocatable: not every mention of the name in it is to be renamed, or it can't be taken apart.
    """
    layout: Layout = renaming.layout
    start, end = layout.start(node), layout.end(node)
    segment = layout.content[start:end].decode("utf-8", "surrogatepass")
    found = list(_names_in(segment, renaming.old))
    if len(found) != count:
        raise Unlocatable(node.lineno, "it is in an f-string together with others of the name, or is not found there")
    begins = [start + len(segment[:position].encode()) for position in found]
    size = len(renaming.old.encode())
    return [Span(start=begin, end=begin + size, text=renaming.new) for begin in begins]


def _names_in(segment: str, name: str) -> Iterator[int]:
    """The positions of a name in the expressions of an f-string."""
    from rlm.helpers.transform_fstrings import name_positions

    yield from name_positions(segment, name)
