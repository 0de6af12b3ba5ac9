"""Makes the edits of a rename in one module, and proves that every mention still means what it meant before."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.helpers.edits.clashes import Clash
from rlm.helpers.edits.name_spans import NameSpans
from rlm.helpers.edits.spans import Unlocatable
from rlm.helpers.facts.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.helpers.edits.bindings import Bindings
    from rlm.helpers.edits.modules import Module
    from rlm.helpers.edits.spans import TextSpan
    from rlm.helpers.facts.scopes import Mention, NamedNode, String

Key = tuple[int | None, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """The spans to replace in one module, and the mentions that they rename."""

    spans: tuple[TextSpan, ...]
    renamed: frozenset[int]
    """The numbers of the mentions that get the new name."""


class Editor:
    """Renames one set of bindings, module by module."""

    def __init__(self, bindings: Bindings, old: str, new: str) -> None:
        self._bindings = bindings
        self._old = old
        self._new = new

    def edits(self, module: Module, others: Iterable[NamedNode[ast.AST]] = ()) -> Edits:
        """The edits of a module; `others` are attributes and keywords to rename with the mentions.

        Raises:
            Unlocatable: a place can't be changed for certain.
        """
        finder = NameSpans(layout=module.file.layout, old=self._old, new=self._new)
        meant = [each for each in module.mentions(self._old) if self._bindings.has(module, each)]
        _refuse_mangled(meant, self._old, self._new)
        parts = [*self._attributes(module), *others]
        found = [span for each in meant if each.within is None for span in self._of_mention(module, each, finder)]
        found += [finder.name(part.node) for part in parts if part.within is None]
        for statement, alias in module.names.imports:
            if alias.name == self._old and self._bindings.imports_from_it(module, alias, statement):
                found.append(finder.alias(alias, source=True))
        quoted: defaultdict[String, set[ast.AST]] = defaultdict(set)
        for within, node in [(each.within, each.node) for each in meant] + [(part.within, part.node) for part in parts]:
            if within is not None:
                quoted[within].add(node)
        for string, nodes in quoted.items():
            found += finder.quoted(string, module.names.tree_of(string), nodes)
        return Edits(spans=tuple(dict.fromkeys(found)), renamed=frozenset(each.number for each in meant))

    def _attributes(self, module: Module) -> list[NamedNode[ast.AST]]:
        parts = (part for part in module.names.attributes if part.node.attr == self._old)
        return [part for part in parts if self._bindings.is_attribute(module, part.node)]

    def _of_mention(self, module: Module, mention: Mention, finder: NameSpans) -> Iterator[TextSpan]:
        node = mention.node
        if isinstance(node, ast.alias):
            yield from self._of_import(module, mention, node, finder)
        elif isinstance(node, ast.Constant):
            yield finder.exported(node)
        else:
            yield finder.name(node)

    def _of_import(self, module: Module, mention: Mention, alias: ast.alias, finder: NameSpans) -> Iterator[TextSpan]:
        if self._bindings.imports_it(module, mention):
            yield finder.alias(alias, source=True)
            if alias.asname is not None:
                yield finder.alias(alias, source=False)
        elif alias.asname is None and "." in alias.name:
            raise Unlocatable(alias.lineno, f"`import {alias.name}` cannot be given another name")
        else:
            yield finder.alias(alias, source=False)

    def clashes(self, module: Module, edits: Edits, after: ast.Module) -> Iterator[Clash]:
        """Find mentions that would mean another binding than before, and bindings that would become one."""
        pair = (self._old, self._new)
        before = [each for each in module.names.mentions if each.name in pair]
        names = Names(after, pair)
        forth: dict[Key, Key] = {}
        back: dict[Key, Key] = {}
        if len(before) != len(names.mentions):
            yield Clash.at(module, after, "what is renamed would no longer be the same names")
            return
        for one, other in zip(before, names.mentions, strict=True):
            key, changed = _key(module.names, one), _key(names, other)
            expected = self._new if one.number in edits.renamed else one.name
            same = one.role == other.role and other.name == expected
            if not same or forth.setdefault(key, changed) != changed or back.setdefault(changed, key) != key:
                yield Clash.at(module, one.node, f"{self._new!r} already means something here")
                return


def _key(names: Names, mention: Mention) -> Key:
    owner = names.owner(mention)
    return (None if owner is None else owner.number), mention.name


def _refuse_mangled(mentions: Iterable[Mention], old: str, new: str) -> None:
    """Refuse names that Python mangles inside classes.

    Raises:
        Unlocatable: such a name is mentioned in a class.
    """
    if not any(name.startswith("__") and not name.endswith("__") for name in (old, new)):
        return
    for mention in mentions:
        scope = mention.scope
        while scope.parent is not None and scope.kind != "class":
            scope = scope.parent
        if scope.kind == "class":
            raise Unlocatable(mention.line, "names with two underscores are private to a class")
