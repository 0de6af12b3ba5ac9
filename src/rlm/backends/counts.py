"""Reads what servers count, tokens and dollars, in the shapes they send: a number is believed, anything else is not,
and none of it spoils a reply."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.types import Json

_MOST = 1 << 53
_DIGITS = 17


def count_in(value: Json) -> int | None:
    """A count of tokens, be it written as 12, 12.0 or "12"; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < _DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        return None
    return int(value) if value == int(value) else None


def said_tokens(usage: Json) -> tuple[int | None, int | None]:
    """The input and the output tokens of a usage, by the names of OpenAI's wires; None for what it doesn't say."""
    return (
        first_count(usage, "prompt_tokens", "input_tokens"),
        first_count(usage, "completion_tokens", "output_tokens"),
    )


def usd_in(value: Json) -> float | None:
    """An amount in US dollars, as a number or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = float(value)
    except (ValueError, OverflowError):
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None


def first_count(found: Json, *names: str) -> int | None:
    """The first count under one of `names` in an object that may be anything."""
    counts = (count_in(found.get(name)) for name in names) if isinstance(found, dict) else ()
    return next((count for count in counts if count is not None), None)
