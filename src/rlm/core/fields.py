"""The kinds of values that settings have, with their ranges, so that a cap or a timeout can't be nonsense.

Only the annotations stand here; `layers` checks them, and words its messages from them. Of a cap the more is the
weaker: a project file that nobody trusts may lower it, and raise it no further than its user did.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

_MOST = 2**53
"""Whole numbers beyond it don't survive JSON everywhere."""

_CAP = {"cap": True}

Count = Annotated[int, Meta(ge=0, le=_MOST, extra=_CAP)]
AtLeastOne = Annotated[int, Meta(ge=1, le=_MOST, extra=_CAP)]
Seconds = Annotated[float, Meta(gt=0, le=1e9, extra=_CAP)]
Usd = Annotated[float, Meta(ge=0, le=1e9, extra=_CAP)]
Share = Annotated[float, Meta(gt=0, le=1e6, extra=_CAP)]
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
MemorySize = Annotated[str, Meta(pattern=_SIZE, description="a size such as 512m or 1GiB", extra=_CAP)]
"""An amount of memory as text; the units are powers of 1024, as Docker reads them."""

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def memory_bytes(size: str) -> int:
    """The bytes in a `MemorySize`: `512m`, `1g`, `1.5 GiB`.

    Raises:
        ValueError: it is no such size.
    """
    match = re.match(_SIZE, size)
    if match is None:
        raise ValueError(f"{size!r} is no size: write one such as 512m or 1GiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])
