"""Reads functions and classes of languages other than Python, with the same fields.

It goes through a tree once, from top to bottom and without recursion: however deep a hostile file nests, the time is
proportional to its size. It gives names only: what has no name is `?`, never its source.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.helpers.facts.grammars import tree_of
from rlm.helpers.facts.rows import Class, Facts, Function, below, cut, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree_sitter import Node

    from rlm.helpers.facts.grammars import Grammar
    from rlm.helpers.facts.rows import FunctionKind

_BRANCHES = frozenset(
    {
        *("if_statement", "if_expression", "for_statement", "for_in_statement", "for_expression", "while_statement"),
        *("while_expression", "loop_expression", "do_statement", "enhanced_for_statement", "switch_case", "match_arm"),
        *("case_statement", "expression_case", "type_case", "communication_case", "switch_label", "catch_clause"),
        *("ternary_expression", "conditional_expression"),
    }
)
_VALUES = frozenset({"arrow_function", "function_expression", "generator_function"})
_MARKS = frozenset({"decorator", "attribute_item", "annotation", "marker_annotation"})
_HERITAGE = frozenset(
    {
        *("class_heritage", "extends_clause", "implements_clause", "extends_type_clause"),
        *("superclass", "super_interfaces", "extends_interfaces", "type_list", "trait_bounds"),
    }
)
_DOTTED = re.compile(r"[@#!\[]*((?!\d)[\w$]+(?:(?:\.|::)[\w$]+)*)")
_NAMED = re.compile(r"[\"']?([\w$#]+)[\"']?")
_READ_BYTES = 1_000
_MARKS_KEPT = 100
"""The most marks of one definition: each keeps those before it, which in a file of only marks is quadratic."""
_LAST_NAMES = frozenset({"rest_pattern", "spread_parameter", "self_parameter", "parenthesized_declarator"})
"""The kinds of parameter nodes whose name is in their last child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Met:
    """A node on the way down."""

    node: Node
    parent: Node | None = None
    outer: str = ""
    """The qualified name of the definition around the node."""
    kind: FunctionKind = "function"
    """The kind of a function defined here: function, method, or nested."""
    marks: tuple[Node, ...] = ()
    """The decorators, annotations and attributes before the node."""


def foreign_facts(content: bytes, grammar: Grammar) -> Facts:
    """The functions and classes of a file, in the order of their lines, as far as the code is correct.

    Raises:
        ConfigError: the grammar is not installed.
    """
    reader = _Reader(grammar)
    root = tree_of(content, grammar).root_node
    reader.read(root)
    return reader.facts(1 if root.has_error and reader.broken_line is None else reader.broken_line)


class _Reader:
    """Goes through the tree of one file."""

    def __init__(self, grammar: Grammar) -> None:
        self.broken_line: int | None = None
        self._grammar = grammar
        self._functions: list[tuple[_Met, str]] = []
        self._classes: list[tuple[_Met, str]] = []
        self._methods: dict[str, list[str]] = {}
        """The methods of each class, wherever they stand."""
        self._branches: list[int] = []
        """The start of each branch."""

    def read(self, root: Node) -> None:
        waiting = [_Met(node=root)]
        while waiting:
            met = waiting.pop()
            node = met.node
            if self.broken_line is None and (node.is_error or node.is_missing):
                self.broken_line = node.start_point[0] + 1
            if node.type in _BRANCHES:
                self._branches.append(node.start_byte)
            waiting += reversed([*_below(node, *self._noted(met))])

    def facts(self, broken_line: int | None) -> Facts:
        functions = [self._function(met, name) for met, name in self._functions]
        methods = {owner: listed(names) for owner, names in self._methods.items()}
        return Facts(
            functions=functions,
            classes=[_class(met, name, methods) for met, name in self._classes],
            complexity=len(functions) + len(self._branches),
            broken_line=broken_line,
        )

    def _noted(self, met: _Met) -> tuple[str, FunctionKind]:
        """Note a definition; returns the qualified name and the kind for what is inside the node."""
        node = met.node
        if node.type == "impl_item":
            return _type_name(node.child_by_field_name("type")), "method"
        if node.type in self._grammar.classes and (name := _class_name(met)):
            self._classes.append((met, name))
            return below(met.outer, name), "method"
        if node.type in self._grammar.functions or _value(node) is not None:
            name, outer = _name(node), met.outer
            if (receiver := node.child_by_field_name("receiver")) is not None:
                outer = _type_name(receiver)
            met = _Met(node=node, outer=outer, kind="method" if "method" in node.type else met.kind, marks=met.marks)
            self._functions.append((met, name))
            if met.kind == "method":
                self._methods.setdefault(outer, []).append(name)
            return below(outer, name), "nested"
        return met.outer, met.kind

    def _function(self, met: _Met, name: str) -> Function:
        node = met.node
        inside = bisect_left(self._branches, node.end_byte) - bisect_left(self._branches, node.start_byte)
        return Function(
            name=name,
            qualname=below(met.outer, name),
            kind=met.kind,
            start_line=_first_line(met),
            end_line=node.end_point[0] + 1,
            args=listed(_parameters(node)),
            decorators=listed(_marks(met)),
            is_async=_is_async(_value(node) or node),
            docstring=False,
            complexity=1 + inside,
        )


def _class(met: _Met, name: str, methods: Mapping[str, list[str]]) -> Class:
    qualname = below(met.outer, name)
    return Class(
        name=name,
        qualname=qualname,
        start_line=_first_line(met),
        end_line=met.node.end_point[0] + 1,
        bases=listed(_bases(met.node)),
        decorators=listed(_marks(met)),
        methods=methods.get(qualname, []),
        docstring=False,
    )


def _below(node: Node, outer: str, kind: FunctionKind) -> Iterator[_Met]:
    marks: tuple[Node, ...] = ()
    # Punctuation matters only where some of it is missing.
    for child in node.children if node.has_error else node.named_children:
        if child.type in _MARKS:
            marks = (*marks[1 - _MARKS_KEPT :], child)
        yield _Met(node=child, parent=node, outer=outer, kind=kind, marks=marks)
        if child.is_named and child.type not in _MARKS and "comment" not in child.type:
            marks = ()


def _value(node: Node) -> Node | None:
    """The function that a node gives a name to: `const f = () => ...`, a field, `{f: ...}`, `a.f = ...`."""
    if node.type in ("variable_declarator", "field_definition", "public_field_definition", "pair"):
        value = node.child_by_field_name("value")
    else:
        value = node.child_by_field_name("right") if node.type == "assignment_expression" else None
    return value if value is not None and value.type in _VALUES else None


def _class_name(met: _Met) -> str:
    """The name of a class; empty for a mention of a class, and for a class without a name."""
    node, parent = met.node, met.parent
    if node.type.endswith("_specifier") and node.child_by_field_name("body") is None:
        return ""
    if node.child_by_field_name("name") is not None:
        return _name(node)
    # typedef struct {...} Box, const Box = class {...}
    is_named = parent is not None and parent.type in ("type_definition", "variable_declarator")
    return _name(parent) if parent is not None and is_named else ""


def _name(node: Node) -> str:
    """The name of a definition; in C it is inside the declarators."""
    inner: Node | None = node
    while inner is not None:
        for field in ("name", "property", "key", "left"):
            if (name := inner.child_by_field_name(field)) is not None:
                return _name(name) if field == "left" else _word(name)
        if inner.type.endswith("identifier"):
            return _word(inner)
        inner = _declarator(inner)
    return "?"


def _declarator(node: Node) -> Node | None:
    if node.type == "parenthesized_declarator":
        return next(iter(node.named_children), None)
    return node.child_by_field_name("declarator")


def _type_name(node: Node | None) -> str:
    """The name of a type, also in `*Box[T]` and `a::Box<T>`."""
    waiting = [] if node is None else [node]
    while waiting:
        each = waiting.pop()
        if each.type in ("type_identifier", "primitive_type"):
            return _word(each)
        waiting += reversed(each.named_children)
    return "?"


def _bases(node: Node) -> Iterator[str]:
    waiting = [child for child in reversed(node.named_children) if child.type in _HERITAGE]
    while waiting:
        each = waiting.pop()
        if each.type in _HERITAGE:
            waiting += reversed(each.named_children)
        elif each.type not in ("type_arguments", "comment"):
            yield _dotted(each)


def _marks(met: _Met) -> Iterator[str]:
    own = [child for child in met.node.children if child.type in _MARKS]
    modifiers = (child for child in met.node.children if child.type == "modifiers")
    own += [mark for each in modifiers for mark in each.children if mark.type in _MARKS]
    for mark in (*met.marks, *own):
        yield _dotted(mark)


def _first_line(met: _Met) -> int:
    return (met.marks or (met.node,))[0].start_point[0] + 1


def _is_async(node: Node) -> bool:
    modifiers = (each for each in node.children if each.type == "function_modifiers")
    return any(child.type == "async" for each in (node, *modifiers) for child in each.children)


def _parameters(node: Node) -> Iterator[str]:
    """The names of those parameters that have one."""
    inner: Node | None = _value(node) or node
    found: Node | None = None
    while inner is not None:  # in C, the parameters nearest to the name
        found = inner.child_by_field_name("parameters") or inner.child_by_field_name("parameter") or found
        inner = _declarator(inner)
    listing = [] if found is None else [found] if found.type == "identifier" else found.named_children
    for each in listing:
        if "comment" not in each.type and _text(each) != "void":
            for part in each.children_by_field_name("name") or [each]:
                yield _parameter(part)


def _parameter(node: Node) -> str:
    inner: Node | None = node
    is_rest = False
    while inner is not None and inner.type not in ("identifier", "self", "this"):
        is_rest = is_rest or inner.type in ("rest_pattern", "spread_parameter", "variadic_parameter")
        fields = (inner.child_by_field_name(field) for field in ("name", "pattern", "left", "declarator"))
        last = inner.named_children[-1:] if inner.type in _LAST_NAMES else []
        inner = next((each for each in (*fields, *last) if each is not None), None)
    if inner is None:
        return "..." if is_rest else "?"
    return ("..." if is_rest else "") + _word(inner)


def _text(node: Node) -> str:
    """The text of a node; empty if it is long."""
    if node.end_byte - node.start_byte > _READ_BYTES:
        return ""
    return (node.text or b"").decode("utf-8", "replace")


def _word(node: Node) -> str:
    """A name or a quoted key; `?` for a computed one."""
    found = _NAMED.fullmatch(_text(node))
    return cut(found[1]) if found else "?"


def _dotted(node: Node) -> str:
    """The name of a base or a decorator, without its arguments."""
    for _ in range(3):
        if not _text(node) and node.named_children:
            node = node.named_children[0]
    found = _DOTTED.match(_text(node))
    return cut(found[1]) if found else "?"
