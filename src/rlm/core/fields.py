"""The kinds of values that settings have, with their ranges, so that a cap or a timeout can't be nonsense.

Only the annotations stand here; `layers` checks them, and words its messages from them. Of a cap the more is the
weaker: a project file that nobody trusts may lower it, and raise it no further than its user did.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

_MOST = 2**53
"""Whole numbers beyond it don't survive JSON everywhere."""

Unit: TypeAlias = Literal["seconds", "count", "bytes"]


def _cap(unit: Unit | None = None) -> dict[str, Any]:
    return {"cap": True} if unit is None else {"cap": True, "unit": unit}


Count = Annotated[int, Meta(ge=0, le=_MOST, extra=_cap("count"))]
AtLeastOne = Annotated[int, Meta(ge=1, le=_MOST, extra=_cap("count"))]
Size = Annotated[int, Meta(ge=1, le=_MOST, extra=_cap("bytes"))]
"""An amount of bytes; as text in the units of a `MemorySize`."""
Seconds = Annotated[float, Meta(gt=0, le=1e9, extra=_cap("seconds"))]
Usd = Annotated[float, Meta(ge=0, le=1e9, extra=_cap())]
Share = Annotated[float, Meta(gt=0, le=1e6, extra=_cap())]
"""A positive amount that need not be whole, such as a number of CPUs."""
TokenCounts = Annotated[
    Literal["all", "uncached", "output"], Meta(extra={"from_strongest": ("all", "uncached", "output")})
]
"""Which tokens count: all, all but input that was read from a provider's cache, or output alone."""
Temperature = Annotated[float, Meta(ge=0, le=10)]
Name = Annotated[str, Meta(min_length=1)]
PathText = Annotated[str, Meta(min_length=1, extra={"path": True})]
"""A path; `~` is expanded, and in a project file it is relative to that file."""

_SIZE = r"^\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(?:[iI]?[bB])?\s*$"
MemorySize = Annotated[str, Meta(pattern=_SIZE, description="a size such as 512m or 1GiB", extra=_cap("bytes"))]
"""An amount of memory as text; the units are powers of 1024, as Docker reads them."""

_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_COUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgb]?)\s*", re.IGNORECASE)
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:ms|s|sec|min|m|h|d|w)\s*)+")
_PERIOD = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_PERIODS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def memory_bytes(size: str) -> int:
    """The bytes in a `MemorySize`: `512m`, `1g`, `1.5 GiB`.

    Raises:
        ValueError: it is no such size.
    """
    match = re.match(_SIZE, size)
    if match is None:
        raise ValueError(f"{size!r} is no size: write one such as 512m or 1GiB")
    return int(float(match[1]) * _BYTES[match[2].lower()])


def seconds(text: str) -> float:
    """The seconds in a duration: `90`, `90s`, `5m`, `1h30m`, `2d`.

    Raises:
        ValueError: it is no such duration.
    """
    text = text.strip().lower()
    if _DURATION.fullmatch(text):
        return float(sum(float(number) * _PERIODS[unit] for number, unit in _PERIOD.findall(text)))
    return float(text)


def count(text: str) -> int:
    """The whole number in a text: `500`, `1_000`, `200k`, `2M`.

    Raises:
        ValueError: it is no such number.
    """
    match = _COUNT.fullmatch(text)
    if match is None:
        return int(text)
    number = Decimal(match[1]) * _COUNTS[match[2].lower()]
    if number != int(number):
        raise ValueError(f"{text!r} is not a whole number")
    return int(number)


def shown_number(number: float) -> str:
    """A number for people: 1,000,000; 0.5."""
    return f"{int(number):,}" if number == int(number) else f"{number:,.6g}"


def amount(text: str, unit: Unit) -> float:
    """The number in a text of that unit.

    Raises:
        ValueError: it isn't one.
    """
    return {"seconds": seconds, "count": count, "bytes": memory_bytes}[unit](text)
