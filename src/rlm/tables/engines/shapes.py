"""Rows as values of JSON, within bounds."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST_BYTES = 8 << 20
"""The most that the rows of one answer may have, about."""
_BATCH = 500
_EXACT_DIGITS = 15
"""How many decimal digits a float holds exactly."""
_HUGE = 1 << 63


class RefusedQuery(Exception):
    """A query is not answered; says why."""


def columns(names: Iterable[str]) -> list[str]:
    """Names of columns without repetition: the second `a` is `a_2`."""
    known: dict[str, int] = {}
    found = []
    for name in names:
        known[name] = known.get(name, 0) + 1
        found.append(name if known[name] == 1 else f"{name}_{known[name]}")
    return found


def batches(rows: Iterable[Sequence[Any]], names: Sequence[str], limit: int) -> Iterator[list[dict[str, Any]]]:
    """The first rows, so many at most, each as a dict by column. Raises:
    RefusedQuery: they have too many bytes.
    """
    left, size = islice(rows, limit), 0
    while batch := list(islice(left, _BATCH)):
        made = [dict(zip(names, map(value, row), strict=True)) for row in batch]
        size += sum(len(str(each)) for each in made)
        if size > MOST_BYTES:
            raise RefusedQuery(
                f"these rows have more than {MOST_BYTES >> 20} MB: select fewer columns, aggregate, or lower the limit"
            )
        yield made


def value(given: Any) -> Any:
    """A value of a database in JSON: dates in ISO form, bytes in hexadecimal, a number that is none as None."""
    if given is None or isinstance(given, (str, bool)):
        return given
    if isinstance(given, int):
        return given if -_HUGE <= given < _HUGE else str(given)
    if isinstance(given, float):
        return given if math.isfinite(given) else None
    if isinstance(given, Decimal):
        return float(given) if len(given.as_tuple().digits) <= _EXACT_DIGITS else str(given)
    if isinstance(given, (datetime, date, time)):
        return given.isoformat()
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given).hex()
    if isinstance(given, dict):
        return {str(key): value(each) for key, each in given.items()}
    if isinstance(given, (list, tuple)):
        return [value(each) for each in given]
    return str(given) if isinstance(given, (timedelta, UUID)) else repr(given)
