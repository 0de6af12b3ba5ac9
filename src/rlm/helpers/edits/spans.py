"""Finds where in the text of a module a name stands, for every kind of place that the parser knows of, and puts
another there. Everything else stays as it is, to the byte.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ToolError
from rlm.helpers.edits.quoted import positions
from rlm.helpers.sources import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rlm.helpers.facts.mentions import String

_BLANK = rb"(?:\s|\\\r?\n)+"
_BEGIN, _END = rb"(?<![\w\x80-\xff])", rb"(?![\w\x80-\xff])"
"""Of a name, which may have letters of any script."""
_WORD_FIRST, _WORD_LAST = re.compile(r"\w+"), re.compile(r"\w+$")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span:
    """A range of the UTF-8 bytes of a text, and what is to stand there."""

    start: int
    end: int
    text: str


class Unlocatable(Exception):
    """A name is in a place that can't be found for certain."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class Layout:
    """The text of a module by the positions that its parser gives."""

    def __init__(self, text: str) -> None:
        self.content = text.encode("utf-8", "surrogatepass")
        self._starts = [0]
        for line in lines_of(text):
            self._starts.append(self._starts[-1] + len(line.encode("utf-8", "surrogatepass")))

    def start(self, node: ast.AST) -> int:
        return self.at(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self.at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def at(self, line: int, column: int) -> int:
        """A position, given the line from 1 and the column in bytes."""
        return self._starts[line - 1] + column

    def begins_line(self, position: int) -> bool:
        """Whether only blanks stand before a position on its line, which goes on with nothing of the line before."""
        line = bisect_right(self._starts, position) - 1
        before = self.content[self._starts[max(0, line - 1)] : self._starts[line]].rstrip(b"\r\n")
        return not self.content[self._starts[line] : position].strip(b" \t\f") and not before.endswith(b"\\")

    def line(self, position: int) -> int:
        """The line, from 1, that a position is in."""
        return bisect_right(self._starts, position)

    def with_spans(self, spans: Iterable[Span]) -> str:
        """The text with each span replaced; equal ones count once.

        Raises:
            ValueError: two of them overlap.
        """
        parts: list[bytes] = []
        position = 0
        for span in sorted(set(spans)):
            if span.start < position:
                raise ValueError("two changes at one place")
            parts += [self.content[position : span.start], span.text.encode("utf-8", "surrogatepass")]
            position = span.end
        return b"".join([*parts, self.content[position:]]).decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """One name, in one module, and its new one."""

    layout: Layout
    old: str
    new: str

    def name(self, node: ast.AST) -> Span:
        """The span of the name that `node` mentions as a variable, an attribute or a keyword.

        Raises:
            Unlocatable: it can't be found for certain.
        """
        finder = _FINDERS.get(type(node).__name__)
        return self._whole(node) if finder is None else finder(self, node)

    def exported(self, node: ast.Constant) -> Span:
        """The span of the name in a string of `__all__`.

        Raises:
            Unlocatable: the string is not a plain one.
        """
        start, end = self.layout.start(node), self.layout.end(node)
        plain = rb"[rRuU]?('''|\"\"\"|'|\")" + re.escape(self.old.encode()) + rb"\1"
        found = re.fullmatch(plain, self.layout.content[start:end])
        if found is None:
            raise Unlocatable(node.lineno, "it is in a string that can't be changed for certain")
        return self._of(start + found.end(1))

    def quoted(self, string: String, tree: ast.expr, nodes: set[ast.AST]) -> list[Span]:
        """The spans of the name in an f-string or an annotation in quotes, for those nodes of its tree.

        Raises:
            Unlocatable: one of them is not found there.
        """
        start, end = self.layout.start(string), self.layout.end(string)
        segment = self.layout.content[start:end].decode("utf-8", "surrogatepass")
        found = positions(segment, string, tree, self.old)
        if missing := nodes - found.keys():
            line = getattr(missing.pop(), "lineno", string.lineno)
            raise Unlocatable(line, "it is in a string that can't be changed for certain")
        return [self._of(start + len(segment[: found[node]].encode("utf-8", "surrogatepass"))) for node in nodes]

    def alias(self, node: ast.alias, *, source: bool) -> Span:
        """The span of what is imported (`source`), or of what it is called, in an alias."""
        start = self.layout.start(node)
        if source:
            return self._of(start)
        if node.asname is None:
            end = self.layout.end(node)
            return Span(start=end, end=end, text=f" as {self.new}")
        if node.name == self.new:
            return Span(start=start + len(node.name.encode()), end=self.layout.end(node), text="")
        return self._before(self.layout.end(node))

    def declared(self, node: ast.Global | ast.Nonlocal) -> Span:
        """The span of the name in a `global` or `nonlocal` statement."""
        return self._match(_BEGIN, node)

    def _whole(self, node: ast.AST) -> Span:
        return self._span(self.layout.start(node), self.layout.end(node))

    def _of(self, start: int) -> Span:
        following = self.layout.content[start : start + self._reach].decode("utf-8", "ignore")
        found = _WORD_FIRST.match(following)
        return self._span(start, start + len(found[0].encode()) if found else start)

    def _before(self, end: int) -> Span:
        preceding = self.layout.content[max(0, end - self._reach) : end].decode("utf-8", "ignore")
        found = _WORD_LAST.search(preceding)
        return self._span(end - len(found[0].encode()) if found else end, end)

    @property
    def _reach(self) -> int:
        """The most bytes that the name may take: some letters are three others to Python, which are one here."""
        return 4 * len(self.old.encode()) + 4

    def _span(self, start: int, end: int) -> Span:
        """The span of a name that must be the old one to Python.

        Raises:
            Unlocatable: it isn't.
        """
        found = self.layout.content[start:end].decode("utf-8", "replace")
        if unicodedata.normalize("NFKC", found) != self.old:
            raise Unlocatable(self.layout.line(start), "the name is not where it should be")
        return Span(start=start, end=end, text=self.new)

    def _match(self, before: bytes, node: ast.AST, start: int | None = None) -> Span:
        begin = self.layout.start(node) if start is None else start
        pattern = re.compile(before + b"(" + re.escape(self.old.encode()) + b")" + _END)
        found = pattern.search(self.layout.content, begin, self.layout.end(node))
        if found is None:
            raise Unlocatable(node.lineno, "the name was not found in its statement")  # type: ignore[attr-defined]
        return Span(start=found.start(1), end=found.end(1), text=self.new)

    def definition(self, node: ast.AST) -> Span:
        keyword = rb"class" if isinstance(node, ast.ClassDef) else rb"def"
        return self._match(_BEGIN + keyword + _BLANK, node)

    def parameter(self, node: ast.arg | ast.keyword) -> Span:
        return self._of(self.layout.start(node))

    def attribute(self, node: ast.Attribute) -> Span:
        return self._before(self.layout.end(node))

    def handler(self, node: ast.ExceptHandler) -> Span:
        assert node.type is not None
        return self._match(_BEGIN + b"as" + _BLANK, node, self.layout.end(node.type))

    def capture(self, node: ast.MatchAs | ast.MatchStar) -> Span:
        return self._before(self.layout.end(node))

    def rest(self, node: ast.MatchMapping) -> Span:
        after = max([self.layout.start(node), *(self.layout.end(each) for each in node.patterns)])
        return self._match(rb"\*\*\s*", node, after)

    def type_parameter(self, node: ast.AST) -> Span:
        return self._match(_BEGIN, node)


_FINDERS: dict[str, Callable[[Renaming, Any], Span]] = {
    "FunctionDef": Renaming.definition,
    "AsyncFunctionDef": Renaming.definition,
    "ClassDef": Renaming.definition,
    "arg": Renaming.parameter,
    "keyword": Renaming.parameter,
    "Attribute": Renaming.attribute,
    "Global": Renaming.declared,
    "Nonlocal": Renaming.declared,
    "ExceptHandler": Renaming.handler,
    "MatchAs": Renaming.capture,
    "MatchStar": Renaming.capture,
    "MatchMapping": Renaming.rest,
    "TypeVar": Renaming.type_parameter,
    "TypeVarTuple": Renaming.type_parameter,
    "ParamSpec": Renaming.type_parameter,
}


def checked_identifier(name: str, what: str) -> str:
    """A name that Python takes for a variable, in its normal form.

    Raises:
        ToolError: it is none.
    """
    normal = unicodedata.normalize("NFKC", name)
    if not normal.isidentifier() or keyword.iskeyword(normal) or normal == "__debug__":
        raise ToolError(f"{what} {name[:80]!r} is no name that Python takes for a variable.")
    return normal
