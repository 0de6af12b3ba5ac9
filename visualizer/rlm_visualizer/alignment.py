"""Two runs side by side: which cell of one belongs to which of the other, and what differs between two texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CELLS = 300
"""The most cells of each run; the time to align grows with the product of both numbers."""
LINES = 400
"""The most lines of a text that are compared; the rest is left out of the difference."""
ALIKE = 0.35
"""Cells that share a smaller part of their words have nothing to do with each other."""
_WORD = re.compile(r"\w+")

Item = TypeVar("Item")
Change: TypeAlias = Literal["same", "changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Pair(Generic[Item]):
    """One row of the comparison: a cell of each run, or of one run alone."""

    left: Item | None
    right: Item | None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of each text, side by side."""

    change: Change
    left: str | None
    right: str | None


def align(left: Sequence[str], right: Sequence[str]) -> list[Pair[int]]:
    """Which texts belong together, in order, by the words they share; each is given by its index in its sequence.

    Of all ways to pair them in order, the one in which the pairs are most alike.
    """
    ours, theirs = [_words(text) for text in left[:CELLS]], [_words(text) for text in right[:CELLS]]
    best = _best(ours, theirs)
    return list(_walk(best, ours, theirs))


def compare(left: str, right: str) -> list[Row]:
    """The lines of two texts, side by side."""
    ours, theirs = left.splitlines()[:LINES], right.splitlines()[:LINES]
    rows: list[Row] = []
    for what, a, b, c, d in SequenceMatcher(a=ours, b=theirs, autojunk=False).get_opcodes():
        rows += _rows(what, ours[a:b], theirs[c:d])
    return rows


def _rows(what: str, ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Row]:
    both = min(len(ours), len(theirs))
    for old, new in zip(ours, theirs, strict=False):
        yield Row("same" if what == "equal" else "changed", old, new)
    for old in ours[both:]:
        yield Row("removed", old, None)
    for new in theirs[both:]:
        yield Row("added", None, new)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text[:20_000]))


def alike(ours: frozenset[str], theirs: frozenset[str]) -> float:
    """The share of words that both have, from 0 to 1."""
    together = len(ours | theirs)
    return len(ours & theirs) / together if together else 1.0


def _best(ours: Sequence[frozenset[str]], theirs: Sequence[frozenset[str]]) -> list[list[float]]:
    """`best[i][j]`: how alike the best pairing of `ours[i:]` and `theirs[j:]` is."""
    best = [[0.0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i in range(len(ours) - 1, -1, -1):
        for j in range(len(theirs) - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], _paired(best, ours, theirs, i, j))
    return best


def _paired(
    best: list[list[float]], ours: Sequence[frozenset[str]], theirs: Sequence[frozenset[str]], i: int, j: int
) -> float:
    score = alike(ours[i], theirs[j])
    return best[i + 1][j + 1] + score if score >= ALIKE else -1.0


def _walk(
    best: list[list[float]], ours: Sequence[frozenset[str]], theirs: Sequence[frozenset[str]]
) -> Iterator[Pair[int]]:
    i = j = 0
    while i < len(ours) and j < len(theirs):
        if best[i][j] == _paired(best, ours, theirs, i, j):
            yield Pair(i, j)
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            yield Pair(i, None)
            i += 1
        else:
            yield Pair(None, j)
            j += 1
    yield from (Pair(rest, None) for rest in range(i, len(ours)))
    yield from (Pair(None, rest) for rest in range(j, len(theirs)))
