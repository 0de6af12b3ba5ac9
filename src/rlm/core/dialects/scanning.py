"""A text that is searched from front to back: each question takes linear time over all places where it is asked."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache

_QUOTED = re.compile(r"(?<!`)(`{1,2})(?!`)[^`\n]+(?<!`)\1(?!`)")
_OPENING_QUOTES, _CLOSING_QUOTES = "\"'“‘«", "\"'”’»"
_SENTENCE_ENDS = ".!?…。！？"
_LEADS = " \t\u00a0\u200b\ufeff"
"""What may stand before the first mark of a line without being seen."""


class Text:
    """A text, and what was found out about it so far."""

    def __init__(self, text: str, *, cut: bool = False) -> None:
        self.text = text
        self.cut = cut
        """Whether it was cut off at its end."""
        self.base = 0
        """Where the reading has got to: what begins there begins a line."""
        self.answered = False
        """Whether a FINAL was followed over several lines already; that is tried once."""
        self.tries = 50
        """How often a fence may still be read beyond its first closing line."""
        self.broken = 0
        """How much JSON in it was broken."""
        self._next: dict[int, tuple[re.Pattern[str], int, re.Match[str] | None]] = {}
        """What was found last, by the identity of its pattern: to hash a pattern takes longer than many a search."""
        spans = [found.span() for found in _QUOTED.finditer(text)] if "`" in text else []
        self._quote_starts = [start for start, _ in spans]
        self._quote_ends = [end for _, end in spans]

    def __len__(self) -> int:
        return len(self.text)

    def next(self, pattern: re.Pattern[str], start: int) -> re.Match[str] | None:
        """The first match at `start` or later. Asked at places that go up, it looks at each character once."""
        last = self._next.get(id(pattern))
        if last is not None and last[1] <= start and (last[2] is None or last[2].start() >= start):
            return last[2]
        found = pattern.search(self.text, start)
        self._next[id(pattern)] = (pattern, start, found)
        return found

    def next_said(self, pattern: re.Pattern[str], start: int) -> re.Match[str] | None:
        """The first match that isn't quoted."""
        found = self.next(pattern, start)
        while found is not None and self.is_quoted(found.start(), found.end()):
            found = self.next(pattern, found.end())
        return found

    def is_quoted(self, start: int, end: int) -> bool:
        """Whether it stands in backticks or in quotation marks of its own, and is spoken of rather than used."""
        at = bisect_right(self._quote_starts, start) - 1
        if at >= 0 and start < self._quote_ends[at]:
            return True
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        return bool(before and after) and before in _OPENING_QUOTES and after in _CLOSING_QUOTES

    def line_end(self, position: int) -> int:
        """Where the next line begins."""
        return self.text.find("\n", position) + 1 or len(self.text)

    def line_start(self, position: int) -> int:
        """Where the line of the position begins."""
        return self.text.rfind("\n", 0, position) + 1

    def begins_line(self, position: int) -> bool:
        """Whether nothing but white space stands before it in its line, but for what was read already."""
        while position > self.base and self.text[position - 1] in _LEADS:
            position -= 1
        return position in (0, self.base) or self.text[position - 1] == "\n"

    def ends_line(self, position: int) -> bool:
        """Whether nothing but white space stands after it in its line."""
        found = _REST.match(self.text, position)
        return found is not None

    def follows_sentence(self, position: int) -> bool:
        """Whether it is glued to what stands before it, or that ends a sentence: a word spoken of stands apart."""
        before = self.text[max(0, position - 3) : position]
        word = before.rstrip(" \t")
        if word != before:
            return word[-1:] != "" and word[-1] in _SENTENCE_ENDS
        return before[-1:] not in ("", "\n", "(", "[", "{", "<", ">", "`", "/") and before[-1] not in _OPENING_QUOTES


_REST = re.compile(r"[ \t\r\u00a0\u200b\ufeff]*(?:\n|\Z)")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern that is made of marks, compiled once."""
    return re.compile(pattern)
