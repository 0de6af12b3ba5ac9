"""Spans of bytes in the text of a module, and the text that replaces them. Everything else stays as it is, byte for
byte.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TextSpan:
    """A range of the UTF-8 bytes of a text, and its replacement."""

    start: int
    end: int
    text: str


class Unlocatable(Exception):
    """The position of a name can't be found for certain."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class Layout:
    """The text of a module, with the byte positions of what its parser gives as lines and columns."""

    def __init__(self, text: str) -> None:
        self.content = text.encode("utf-8", "surrogatepass")
        self._starts = [0]
        for line in io.StringIO(text, newline="").readlines():  # as Python's parser counts them
            self._starts.append(self._starts[-1] + len(line.encode("utf-8", "surrogatepass")))

    def start(self, node: ast.AST) -> int:
        return self.at(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self.at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def at(self, line: int, column: int) -> int:
        """The byte position of a line, from 1, and a column in bytes."""
        return self._starts[line - 1] + column

    def begins_line(self, position: int) -> bool:
        """Whether only blanks precede a position on its line, and the line doesn't continue the one before."""
        line = bisect_right(self._starts, position) - 1
        before = self.content[self._starts[max(0, line - 1)] : self._starts[line]].rstrip(b"\r\n")
        return not self.content[self._starts[line] : position].strip(b" \t\f") and not before.endswith(b"\\")

    def line(self, position: int) -> int:
        """The line, from 1, of a position."""
        return bisect_right(self._starts, position)

    def with_spans(self, spans: Iterable[TextSpan]) -> str:
        """The text with each span replaced; equal spans count once.

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
