"""Finds the positions of a name in the text of a module, for every kind of node that has names."""

from __future__ import annotations

import ast
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.helpers.edits.code_in_strings import positions
from rlm.helpers.edits.spans import TextSpan, Unlocatable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.helpers.edits.spans import Layout
    from rlm.helpers.facts.scopes import String

_BLANK = rb"(?:\s|\\\r?\n)+"
_BEGIN, _END = rb"(?<![\w\x80-\xff])", rb"(?![\w\x80-\xff])"
"""The borders of a name, which may have letters of any script."""
_WORD_FIRST, _WORD_LAST = re.compile(r"\w+"), re.compile(r"\w+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameSpans:
    """The spans of one name in one module, with the new name as their text."""

    layout: Layout
    old: str
    new: str

    def name(self, node: ast.AST) -> TextSpan:
        """The span of the name that `node` mentions as a variable, an attribute or a keyword.

        Raises:
            Unlocatable: it can't be found for certain.
        """
        finder = _FINDERS.get(type(node).__name__)
        return self._whole(node) if finder is None else finder(self, node)

    def exported(self, node: ast.Constant) -> TextSpan:
        """The span of the name in a string of `__all__`.

        Raises:
            Unlocatable: the string is not a plain literal.
        """
        start, end = self.layout.start(node), self.layout.end(node)
        plain = rb"[rRuU]?('''|\"\"\"|'|\")" + re.escape(self.old.encode()) + rb"\1"
        found = re.fullmatch(plain, self.layout.content[start:end])
        if found is None:
            raise Unlocatable(node.lineno, "it is in a string that can't be changed for certain")
        return self._of(start + found.end(1))

    def quoted(self, string: String, tree: ast.expr, nodes: set[ast.AST]) -> list[TextSpan]:
        """The spans of the name in an f-string or a quoted annotation, for the given nodes of its tree.

        Raises:
            Unlocatable: a node can't be found there.
        """
        start, end = self.layout.start(string), self.layout.end(string)
        segment = self.layout.content[start:end].decode("utf-8", "surrogatepass")
        found = positions(segment, string, tree, self.old)
        if nodes - found.keys():
            raise Unlocatable(string.lineno, "it is in a string that can't be changed for certain")
        return [self._of(start + len(segment[: found[node]].encode("utf-8", "surrogatepass"))) for node in nodes]

    def alias(self, node: ast.alias, *, source: bool) -> TextSpan:
        """The span, in an alias, of the imported name (`source`), or of the name after `as`."""
        start = self.layout.start(node)
        if source:
            return self._of(start)
        if node.asname is None:
            end = self.layout.end(node)
            return TextSpan(start=end, end=end, text=f" as {self.new}")
        if node.name == self.new:
            return TextSpan(start=start + len(node.name.encode()), end=self.layout.end(node), text="")
        return self._before(self.layout.end(node))

    def declared(self, node: ast.Global | ast.Nonlocal) -> TextSpan:
        """The span of the name in a `global` or `nonlocal` statement."""
        return self._match(_BEGIN, node)

    def _whole(self, node: ast.AST) -> TextSpan:
        return self._span(self.layout.start(node), self.layout.end(node))

    def _of(self, start: int) -> TextSpan:
        following = self.layout.content[start : start + self._reach].decode("utf-8", "ignore")
        found = _WORD_FIRST.match(following)
        return self._span(start, start + len(found[0].encode()) if found else start)

    def _before(self, end: int) -> TextSpan:
        preceding = self.layout.content[max(0, end - self._reach) : end].decode("utf-8", "ignore")
        found = _WORD_LAST.search(preceding)
        return self._span(end - len(found[0].encode()) if found else end, end)

    @property
    def _reach(self) -> int:
        """The most bytes that the name may take: one letter in the source may stand for up to three in the name."""
        return 4 * len(self.old.encode()) + 4

    def _span(self, start: int, end: int) -> TextSpan:
        """The span of a name, which must be the old name to Python.

        Raises:
            Unlocatable: it isn't.
        """
        found = self.layout.content[start:end].decode("utf-8", "replace")
        if unicodedata.normalize("NFKC", found) != self.old:
            raise Unlocatable(self.layout.line(start), "the name is not where it should be")
        return TextSpan(start=start, end=end, text=self.new)

    def _match(self, before: bytes, node: ast.AST, start: int | None = None) -> TextSpan:
        begin = self.layout.start(node) if start is None else start
        pattern = re.compile(before + b"(" + re.escape(self.old.encode()) + b")" + _END)
        found = pattern.search(self.layout.content, begin, self.layout.end(node))
        if found is None:
            raise Unlocatable(node.lineno, "the name was not found in its statement")  # type: ignore[attr-defined]
        return TextSpan(start=found.start(1), end=found.end(1), text=self.new)

    def definition(self, node: ast.AST) -> TextSpan:
        keyword = rb"class" if isinstance(node, ast.ClassDef) else rb"def"
        return self._match(_BEGIN + keyword + _BLANK, node)

    def parameter(self, node: ast.arg | ast.keyword) -> TextSpan:
        return self._of(self.layout.start(node))

    def attribute(self, node: ast.Attribute) -> TextSpan:
        return self._before(self.layout.end(node))

    def handler(self, node: ast.ExceptHandler) -> TextSpan:
        assert node.type is not None
        return self._match(_BEGIN + b"as" + _BLANK, node, self.layout.end(node.type))

    def capture(self, node: ast.MatchAs | ast.MatchStar) -> TextSpan:
        return self._before(self.layout.end(node))

    def rest(self, node: ast.MatchMapping) -> TextSpan:
        after = max([self.layout.start(node), *(self.layout.end(each) for each in node.patterns)])
        return self._match(rb"\*\*\s*", node, after)

    def type_parameter(self, node: ast.AST) -> TextSpan:
        return self._match(_BEGIN, node)


_FINDERS: dict[str, Callable[[NameSpans, Any], TextSpan]] = {
    "FunctionDef": NameSpans.definition,
    "AsyncFunctionDef": NameSpans.definition,
    "ClassDef": NameSpans.definition,
    "arg": NameSpans.parameter,
    "keyword": NameSpans.parameter,
    "Attribute": NameSpans.attribute,
    "Global": NameSpans.declared,
    "Nonlocal": NameSpans.declared,
    "ExceptHandler": NameSpans.handler,
    "MatchAs": NameSpans.capture,
    "MatchStar": NameSpans.capture,
    "MatchMapping": NameSpans.rest,
    "TypeVar": NameSpans.type_parameter,
    "TypeVarTuple": NameSpans.type_parameter,
    "ParamSpec": NameSpans.type_parameter,
}
