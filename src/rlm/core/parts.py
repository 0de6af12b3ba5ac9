"""Finds the parts of values: items, keys and fields. How a class keeps them is looked up once, for events are gone
through several times each turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

TEXTS: Final = (str, bytes, bytearray)
SIMPLE: Final = frozenset((type(None), bool, int, float))
"""The classes of most values that are no text and have no parts, which need no further look."""
_CONTAINERS: Final = (list, tuple, set, frozenset)

_Getter: TypeAlias = Callable[[Any], Iterable[Any]]


def parts_of(value: Any) -> Iterable[Any] | None:
    """The parts of a value; None if it has none."""
    getter = _getter_of(type(value))  # type: ignore[arg-type]  # mypy doubts that classes are hashable
    return None if getter is None else getter(value)


def fields_of(value: Any) -> tuple[str, ...] | None:
    """The names of the fields of a struct or a dataclass; None if it is neither."""
    return _fields_of(type(value))  # type: ignore[arg-type]  # as above


@lru_cache(maxsize=1024)
def _getter_of(kind: type) -> _Getter | None:
    if issubclass(kind, dict):
        return _of_dict
    if issubclass(kind, _CONTAINERS):
        return iter
    if issubclass(kind, msgspec.Struct):
        return msgspec.structs.astuple
    names = _fields_of(kind)  # type: ignore[arg-type]  # as above
    return None if names is None else _getter(names)


@lru_cache(maxsize=1024)
def _fields_of(kind: type) -> tuple[str, ...] | None:
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    return tuple(each.name for each in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _of_dict(value: dict[Any, Any]) -> Iterable[Any]:
    return chain(value.keys(), value.values())


def _getter(names: tuple[str, ...]) -> _Getter:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: [getattr(value, name) for name in names]
