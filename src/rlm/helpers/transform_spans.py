"""Finds where in the text of a module a name stands, for every kind of place that the parser knows of, and puts
another there. Everything else stays as it is, to the byte.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ToolError
from rlm.helpers.sources import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_BLANK = rb"(?:\s|\\\r?\n)+"


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

    def line(self, position: int) -> int:
        """The line, from 1, that a position is in."""
        return self.content.count(b"\n", 0, position) + 1

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
        span = self._whole(node) if finder is None else finder(self, node)
        found = self.layout.content[span.start : span.end].decode("utf-8", "replace")
        if unicodedata.normalize("NFKC", found) != self.old:
            raise Unlocatable(node.lineno, "the name is not where it should be")  # type: ignore[attr-defined]
        return span

    def text(self, node: ast.Constant) -> list[Span]:
        """The spans of the name inside of a string that is an annotation or stands in `__all__`.

        Raises:
            Unlocatable: the string is not a plain one on one line.
        """
        start, end = self.layout.start(node), self.layout.end(node)
        segment = self.layout.content[start:end]
        assert isinstance(node.value, str)
        if re.fullmatch(rb"[rRuU]?(['\"])[^\\\n]*\1", segment) is None:
            raise Unlocatable(node.lineno, "it is in a string that can't be changed for certain")
        found = [*re.finditer(rb"(?<![\w.])" + re.escape(self.old.encode()) + rb"(?!\w)", segment)]
        return [Span(start=start + each.start(), end=start + each.end(), text=self.new) for each in found]

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
        return self._match(rb"\b(" + re.escape(self.old.encode()) + rb")(?![\w])", node)

    def _whole(self, node: ast.AST) -> Span:
        return Span(start=self.layout.start(node), end=self.layout.end(node), text=self.new)

    def _of(self, start: int) -> Span:
        return Span(start=start, end=start + len(self.old.encode()), text=self.new)

    def _before(self, end: int) -> Span:
        return Span(start=end - len(self.old.encode()), end=end, text=self.new)

    def _match(self, pattern: bytes, node: ast.AST, start: int | None = None) -> Span:
        begin = self.layout.start(node) if start is None else start
        found = re.compile(pattern).search(self.layout.content, begin, self.layout.end(node))
        if found is None:
            raise Unlocatable(node.lineno, "the name was not found in its statement")  # type: ignore[attr-defined]
        return Span(start=found.start(1), end=found.end(1), text=self.new)

    def definition(self, node: ast.AST) -> Span:
        keyword = rb"class" if isinstance(node, ast.ClassDef) else rb"def"
        return self._match(rb"\b" + keyword + _BLANK + b"(" + re.escape(self.old.encode()) + rb")(?!\w)", node)

    def parameter(self, node: ast.arg | ast.keyword) -> Span:
        return self._of(self.layout.start(node))

    def attribute(self, node: ast.Attribute) -> Span:
        return self._before(self.layout.end(node))

    def handler(self, node: ast.ExceptHandler) -> Span:
        assert node.type is not None
        pattern = rb"\bas" + _BLANK + b"(" + re.escape(self.old.encode()) + rb")(?!\w)"
        return self._match(pattern, node, self.layout.end(node.type))

    def capture(self, node: ast.MatchAs | ast.MatchStar) -> Span:
        return self._before(self.layout.end(node))

    def rest(self, node: ast.MatchMapping) -> Span:
        after = max([self.layout.start(node), *(self.layout.end(each) for each in node.patterns)])
        return self._match(rb"\*\*\s*(" + re.escape(self.old.encode()) + rb")(?!\w)", node, after)

    def type_parameter(self, node: ast.AST) -> Span:
        return self._match(rb"(?<!\w)(" + re.escape(self.old.encode()) + rb")(?!\w)", node)


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
    if not normal.isidentifier() or keyword.iskeyword(normal):
        raise ToolError(f"{what} {name[:80]!r} is no name that Python takes for a variable.")
    return normal
