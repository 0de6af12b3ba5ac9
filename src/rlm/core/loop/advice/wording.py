"""Words, numbers and strings in texts, to tell what in one text came from another."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.types import Json

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LOOKED_AT = 1_000


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.casefold())


def runs(text: str, length: int) -> set[str]:
    """Every run of so many words in a text, joined by spaces."""
    found = words(text)
    return {" ".join(found[at : at + length]) for at in range(len(found) - length + 1)}


def numbers(text: str) -> list[str]:
    """The numbers of a text as they are written, without signs and marks of thousands."""
    return _NUMBER.findall(ungrouped(text))


def ungrouped(text: str) -> str:
    """A text whose numbers have no marks of thousands."""
    return _GROUPED.sub("", text)


def is_near(number: str, others: Iterable[float]) -> bool:
    """Whether a number is one of the others, a share of them in per cent too, rounded to its places."""
    value, places = float(number), len(number.partition(".")[2])
    room = 0.5 * 10.0**-places + 1e-9 * abs(value)
    return any(abs(value - other) <= room or abs(value - 100 * other) <= room for other in others)


def strings(value: Json) -> list[str]:
    """The strings in a value, of its first thousand parts."""
    parts = [value]
    for part in parts:
        if isinstance(part, dict | list):
            parts += islice(part.values() if isinstance(part, dict) else part, _LOOKED_AT - len(parts))
    return [part for part in parts if isinstance(part, str)]
