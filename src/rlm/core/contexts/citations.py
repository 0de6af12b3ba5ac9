"""Finds where the data has the words of a quote: exactly, but for spacing, or the place that is most like them.

It reads the data in blocks and never holds it whole, and takes time that grows with the data and not with what a quote
is made to be. Meant for a thread.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from rlm.core.off_loop import checkpoint
from rlm.core.types import Citation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.contexts.context import Context, Part
    from rlm.core.types import Json

MAX_QUOTE_CHARS = 10_000
"""The longest quote that is looked for."""
LEAST_LIKENESS = 0.6
"""How alike a place must be to be called near, from 0 to 1."""

_BLOCK_BYTES = 4 << 20
_VALUE_BYTES = 16 << 20
"""The largest value that is looked through text by text; in a larger one only its JSON is."""
_ANCHORS = 3
_WINDOWS_BYTES = 1 << 18
"""How much around the places of one word is looked at."""
_SPACED = re.compile(r"\S+")
_WORD = re.compile(r"\w+")
_CONTINUATION = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that begin no character."""

_Span: TypeAlias = tuple[int, int]


def cite(context: Context, quote: str) -> Citation:
    """Where the data has the words of `quote`; `found` is `no` where it hasn't, and the place then the nearest one,
    if any is near.
    """
    words = quote.split()
    if not words or len(quote) > MAX_QUOTE_CHARS or context.fd is None:
        return Citation(quote=quote, found="no")
    if context.kind != "value":
        return _best(_in_file(context.fd, part, quote, words) for part in context.parts)
    if context.size_bytes <= _VALUE_BYTES:
        return _best(_in_text(path, text, quote, words) for path, text in _texts(_value(context)))
    return _in_json(context, quote)


def cite_all(context: Context, quotes: Iterable[str]) -> tuple[Citation, ...]:
    """Where the data has the words of each quote."""
    return tuple(cite(context, quote) for quote in quotes)


def _best(found: Iterable[Citation]) -> Citation:
    """The first exact place; else the first with other spacing; else the nearest."""
    best = Citation(quote="", found="no")
    for each in found:
        if each.found == "exact":
            return each
        if not best.quote or _rank(each) > _rank(best):
            best = each
    return best


def _rank(citation: Citation) -> tuple[bool, float]:
    return citation.found != "no", citation.likeness


@dataclass(frozen=True, slots=True)
class _Bytes:
    """The bytes of one part of the data."""

    fd: int
    part: Part

    def read(self, start: int, end: int) -> bytes:
        """The bytes of a range, which is cut to the part."""
        start, end = max(start, self.part.start), min(end, self.part.end)
        return os.pread(self.fd, end - start, start) if start < end else b""

    def places(self, needle: bytes) -> Iterator[int]:
        """The offsets at which `needle` begins."""
        start, end = self.part.start, self.part.end
        while start + len(needle) <= end:
            checkpoint()
            block = self.read(start, start + _BLOCK_BYTES + len(needle) - 1)
            at = block.find(needle)
            while 0 <= at < _BLOCK_BYTES:
                yield start + at
                at = block.find(needle, at + len(needle))
            start += _BLOCK_BYTES

    def before(self, offset: int) -> tuple[int, int]:
        """How many line ends and how many characters of the part come before an offset."""
        lines = chars = 0
        for start in range(self.part.start, offset, _BLOCK_BYTES):
            checkpoint()
            block = self.read(start, min(start + _BLOCK_BYTES, offset))
            lines += block.count(b"\n")
            chars += len(block.translate(None, _CONTINUATION))
        return lines, chars

    def place(self, citation: Citation, span: _Span) -> Citation:
        """The citation with where the bytes of `span` are."""
        lines, chars = self.before(span[0])
        length = len(self.read(*span).translate(None, _CONTINUATION))
        return replace(citation, file=self.part.name, line=lines + 1, start=chars, end=chars + length)


def _in_file(fd: int, part: Part, quote: str, words: list[str]) -> Citation:
    data, needle = _Bytes(fd, part), quote.encode("utf-8", "surrogatepass")
    for at in data.places(needle):
        return data.place(Citation(quote=quote, found="exact", likeness=1.0), (at, at + len(needle)))
    near = Citation(quote=quote, found="no")
    for first, window in _windows(data, words, len(needle)):
        text = str(window, "utf-8", "replace")
        if span := _but_for_spacing(text, words):
            return data.place(Citation(quote=quote, found="spacing", likeness=1.0), _as_bytes(first, text, span))
        likeness, span = _most_alike(text, words)
        if likeness > max(near.likeness, LEAST_LIKENESS):
            found = replace(near, likeness=likeness, nearest=text[slice(*span)])
            near = data.place(found, _as_bytes(first, text, span))
    return near


def _windows(data: _Bytes, words: list[str], size: int) -> Iterator[tuple[int, bytes]]:
    """What surrounds the places of the rarest words, each with its offset; of many places the first ones."""
    reach = 2 * size + 200
    for anchor in _anchors(words):
        left, seen = max(2, _WINDOWS_BYTES // reach), 0
        for at in data.places(anchor.encode("utf-8", "surrogatepass")):
            if at + size < seen:
                continue
            if not left:
                break
            left, seen = left - 1, at + reach
            first = max(data.part.start, at - reach)
            yield first, data.read(first, seen)


def _as_bytes(first: int, text: str, span: _Span) -> _Span:
    """The range of bytes behind a range of characters of a window; a character cut at its edge counts as its bytes."""
    before, within = text[: span[0]], text[slice(*span)]
    start = first + len(before.replace("\ufffd", "?").encode("utf-8"))
    return start, start + len(within.encode("utf-8"))


def _anchors(words: list[str]) -> list[str]:
    """The words that are looked for first: the longest ones, being rare."""
    return sorted(dict.fromkeys(words), key=len, reverse=True)[:_ANCHORS]


def _but_for_spacing(text: str, words: list[str]) -> _Span | None:
    """Where a text has the words one after the other, whatever spaces are between them; the first and the last may be
    parts of longer ones.
    """
    found = [match.span() for match in _SPACED.finditer(text)]
    at = " ".join(text[slice(*span)] for span in found).find(" ".join(words))
    if at < 0:
        return None
    begun = list(accumulate((end - start + 1 for start, end in found), initial=0))
    first = bisect_right(begun, at) - 1
    last = first + len(words) - 1
    start = found[first][0] + at - begun[first]
    return start, (start if last == first else found[last][0]) + len(words[-1])


def _most_alike(text: str, words: list[str]) -> tuple[float, _Span]:
    """The range of as many words of a text that has most of these words, and the share of them that it has; what is
    neither letter nor digit doesn't count.
    """
    words = _WORD.findall(" ".join(words))
    found = [match.span() for match in _WORD.finditer(text)]
    lacking, common, best, best_at = Counter(words), 0, 0, 0
    for number, span in enumerate(found):
        word = text[slice(*span)]
        common += lacking[word] > 0
        lacking[word] -= 1
        if number >= len(words):
            gone = text[slice(*found[number - len(words)])]
            lacking[gone] += 1
            common -= lacking[gone] > 0
        if common >= max(best, 1):
            best, best_at = common, max(0, number - len(words) + 1)
    if not best:
        return 0.0, (0, 0)
    return best / len(words), (found[best_at][0], found[min(len(found), best_at + len(words)) - 1][1])


def _in_text(path: str, text: str, quote: str, words: list[str]) -> Citation:
    """Where one text of a value has it."""
    if (at := text.find(quote)) >= 0:
        return Citation(quote=quote, found="exact", likeness=1.0, path=path, start=at, end=at + len(quote))
    if span := _but_for_spacing(text, words):
        return Citation(quote=quote, found="spacing", likeness=1.0, path=path, start=span[0], end=span[1])
    return Citation(quote=quote, found="no")


def _value(context: Context) -> Json:
    assert context.fd is not None
    (part,) = context.parts
    value: Json = msgspec.json.decode(_Bytes(context.fd, part).read(part.start, part.end))
    return value


def _texts(value: Json) -> Iterator[tuple[str, str]]:
    """Every text of a value, and what else has words, each with how it is reached: `[3]['name']`."""
    waiting = [("", value)]
    while waiting:
        path, each = waiting.pop()
        if isinstance(each, dict):
            waiting += [(f"{path}[{key!r}]", part) for key, part in reversed(each.items())]
        elif isinstance(each, list):
            waiting += [(f"{path}[{number}]", part) for number, part in reversed(list(enumerate(each)))]
        else:
            yield path, each if isinstance(each, str) else str(each)


def _in_json(context: Context, quote: str) -> Citation:
    """Whether the JSON of a large value has it; where, is not said."""
    assert context.fd is not None
    needle = msgspec.json.encode(quote)[1:-1]
    data = _Bytes(context.fd, context.parts[0])
    is_there = any(True for _ in data.places(needle))
    return Citation(quote=quote, found="exact" if is_there else "no", likeness=float(is_there))
