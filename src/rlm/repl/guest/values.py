"""The values of the variables in the line that failed, in short: most errors of a cell are a value that is not what its
author thought. Only builtin types are shown, for what another type says of itself may do anything."""

from __future__ import annotations

import builtins
import re
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_NAME = re.compile(r"(?<![\w.'\"])[A-Za-z_]\w*")
_NAMES_SHOWN = 5
_CHARS = 160
_ITEM_CHARS = 80
_DEPTH = 3
_MOST_BITS = 200

_PLAIN = (bool, float, type(None))
_TEXTS: dict[type, str] = {str: "str", bytes: "bytes"}
_MANY: dict[type, str] = {list: "list", tuple: "tuple", dict: "dict", set: "set", frozenset: "frozenset"}


def values_in(line: str, frame: FrameType) -> str:
    """`name = value` for each variable of the line that holds data, such as `x = 'a b'`; empty without any."""
    return "; ".join(islice(_shown(line, frame), _NAMES_SHOWN))


def nearest(name: str | None, frame: FrameType) -> str:
    """The variable whose name is most like the one that is missing; empty where none is."""
    known = [each for each in (*frame.f_locals, *frame.f_globals) if type(each) is str and not each.startswith("_")]
    return next(iter(get_close_matches(str(name), known, 1)), "")


def _shown(line: str, frame: FrameType) -> Iterator[str]:
    for name in dict.fromkeys(_NAME.findall(line)):
        scope = frame.f_locals if name in frame.f_locals else frame.f_globals
        if name in scope and (shown := _value(scope[name], _CHARS, 0)):
            yield f"{name} = {shown}"


def _value(value: Any, chars: int, depth: int) -> str:
    """A value of a builtin type; the type of another, where it is in one; empty where it is no data."""
    kind = type(value)
    if kind in _TEXTS:
        shown = repr(value[:chars])
        return shown if len(value) <= chars else f"a {_TEXTS[kind]} of {len(value):,}, which begins {shown}"
    if kind is int:
        return repr(value) if value.bit_length() <= _MOST_BITS else "a very large int"
    if kind in _PLAIN:
        return repr(value)
    if kind in _MANY:
        return _many(value, chars, depth)
    return f"<{vars(type)['__name__'].__get__(kind)[:_ITEM_CHARS]}>" if depth else ""


def _many(value: Any, chars: int, depth: int) -> str:
    kind, size = _MANY[type(value)], len(value)
    if not size:
        return f"an empty {kind}"
    if depth >= _DEPTH:
        return f"a {kind} of {size:,}"
    if kind == "dict":
        keys = ", ".join(_value(key, _ITEM_CHARS, depth + 1) for key in islice(value, 10))
        return f"a dict of {size:,}, with keys {keys}"[:chars]
    first = "" if "set" in kind else f", the first {_value(value[0], chars, depth + 1)}"
    return f"a {kind} of {size:,}{first}"
