"""Finds names in strings that are code (f-strings, annotations in quotes), where the parser gives no exact positions.

It tries: with another name in a place, the node of the tree that differs is the one in that place: a variable, an
attribute, or a piece of text.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from rlm.helpers.facts.parsing import NotParsed, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.helpers.facts.scopes import String

_MOST_TRIED_CHARS = 4_000_000
_PLAIN = re.compile(r"[rRuU]?('''|\"\"\"|'|\")(\s*)([^\\]*)\1")


def positions(segment: str, string: String, tree: ast.expr, name: str) -> dict[ast.AST, int]:
    """The nodes of `tree` that mention `name`, and their positions in `segment`, the source of `string`.

    Nodes that can't be found for certain are left out.
    """
    if isinstance(string, ast.JoinedStr):
        return {node: start - 1 for node, start in _tried(f"({segment})", tree, name)}
    plain = _PLAIN.fullmatch(segment)
    return {} if plain is None else {node: plain.start(3) + start for node, start in _tried(plain[3], tree, name)}


def _tried(code: str, tree: ast.expr, name: str) -> Iterator[tuple[ast.AST, int]]:
    nodes = [*ast.walk(tree)]
    before = _walked(code)
    places = [*re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", code)]
    if len(places) * len(code) > _MOST_TRIED_CHARS:
        return
    for place in places:
        after = _walked(f"{code[: place.start()]}{name}_{code[place.end() :]}")
        if not len(before) == len(after) == len(nodes):
            continue
        for node, one, other in zip(nodes, before, after, strict=True):
            if _said(one) != _said(other):
                yield node, place.start()


def _walked(code: str) -> list[ast.AST]:
    try:
        body = parsed(code.rstrip()).body
    except NotParsed:
        return []
    return [*ast.walk(body[0].value)] if len(body) == 1 and isinstance(body[0], ast.Expr) else []


def _said(node: ast.AST) -> list[str]:
    """The names in a node itself, without those in its children."""
    return [value for _, value in ast.iter_fields(node) if isinstance(value, str)]
