"""Makes values that programs have at hand into those that a sandbox can be given: dates, decimals, models, tables.

Each is made simpler by one step, so that what is inside of it is looked at in turn; what needs no step isn't copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from rlm.repl.guest.wire import MAX_DEPTH, encode_value, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json

_SHOWN_CHARS = 60


def encoded(value: Any) -> Json:
    """The form of a value in which it goes to a sandbox.

    Raises:
        TypeError, ValueError: a part of it has none; says where that part is.
    """
    try:
        return encode_value(value, other=_Forms().form)
    except (TypeError, ValueError, RecursionError) as error:
        place = _place_of_misfit(value)
        if not place:
            raise
        raise TypeError(f"{place}: {error}") from error


def simpler(value: Any) -> Any:
    """A value without a form of its own as one that is nearer to having one.

    Dates and times are ISO text, durations are seconds, decimals are text without loss, tables are lists of records.

    Raises:
        TypeError: there is no such value.
    """
    kind = type(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (date, datetime, time)):
        return value.isoformat() if _is_a_moment(value) else None
    if isinstance(value, timedelta):
        return value.total_seconds() if _is_a_moment(value) else None
    if isinstance(value, (Decimal, UUID, PurePath, Fraction)):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if kind.__name__ in ("NAType", "NaTType"):  # pandas' own absences
        return None
    if (records := _records(value)) is not None:
        return records
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable) and not isinstance(value, type):
        return list(value)
    return refuse(value)


def _is_a_moment(value: Any) -> bool:
    """Whether it is one at all: pandas' NaT is a datetime that equals nothing."""
    return bool(value == value)


def _records(value: Any) -> Any:
    """What a model of pydantic, or a table of pandas, polars or pyarrow, holds; None for anything else."""
    kind = type(value)
    if hasattr(kind, "model_dump"):
        return value.model_dump()
    if hasattr(kind, "to_dicts"):
        return value.to_dicts()
    if hasattr(kind, "to_pylist"):
        return value.to_pylist()
    if hasattr(kind, "to_dict") and hasattr(value, "columns"):
        named = any(name is not None for name in value.index.names)
        return (value.reset_index() if named else value).to_dict(orient="records")
    return None


class _Forms:
    """Gives the forms of what has none of its own, as deep as values may nest."""

    def __init__(self) -> None:
        self._depth = 0

    def form(self, value: Any) -> Json:
        if self._depth >= MAX_DEPTH:
            refuse(value)
        self._depth += 1
        try:
            return encode_value(simpler(value), other=self.form)
        finally:
            self._depth -= 1


def _place_of_misfit(value: Any, place: str = "", depth: int = 0) -> str:
    """The place of the first part that can't be taken, such as `['rows'][3].owner`; empty if that is the whole."""
    if depth > MAX_DEPTH:
        return place
    for step, part in _parts(value):
        try:
            encode_value(part, other=_Forms().form)
        except (TypeError, ValueError, RecursionError):
            return _place_of_misfit(part, f"{place}{step}", depth + 1)
    return place


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (str, bytes)):
        return
    if is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{each.name}", getattr(value, each.name)) for each in fields(value))
    elif isinstance(value, Mapping):
        yield from ((f"[{repr(key)[:_SHOWN_CHARS]}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{number}]", item) for number, item in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from (("{...}", item) for item in value)
    elif not isinstance(value, Iterable) or hasattr(type(value), "model_dump"):
        try:
            inner = simpler(value)
        except TypeError:
            return
        if isinstance(inner, dict):
            yield from ((f".{name}", item) for name, item in inner.items())
