"""Values as JSON text from which the very same values come back: what a session carries from one REPL to another.

The forms are those of the wire and, for what the wire shows as lists and dicts, a few more; a value that would come
back as something else is refused. Never pickle: what is read may have been written by anybody.
"""

from __future__ import annotations

import builtins
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.wire import MAX_DEPTH, WireError, decode_value, encode_value, pack_value, unpack_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_ITEMS: Mapping[type, str] = {
    tuple: "$tuple", set: "$set", frozenset: "$frozenset", deque: "$deque",
}  # fmt: skip
_PAIRS: Mapping[type, str] = {dict: "$map", Counter: "$counter", OrderedDict: "$ordered"}
_FACTORIES: Mapping[str, type] = {each.__name__: each for each in (int, float, str, list, dict, set, tuple)}
_FACTORY_NAMES = {each: name for name, each in _FACTORIES.items()}


class CannotCarry(Exception):
    """A value has no form from which it would come back; says which part and why."""


def to_text(value: Any) -> str:
    """The JSON text of `value`.

    Raises:
        CannotCarry: it would not come back as it is.
    """
    return str(pack_value(_form(value, set())), "utf-8")


def from_text(text: str) -> Any:
    """The value of that text. Raises:
    WireError: it is no text of a value.
    """
    return _value(unpack_value(text), 0)


def _form(value: Any, path: set[int]) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return _scalar(value)
    if kind in _TEXTS:
        return {_TEXTS[kind][0]: _TEXTS[kind][1](value)}
    if kind is not list and kind is not defaultdict and kind not in _ITEMS and kind not in _PAIRS:
        raise CannotCarry(_article(kind))
    if id(value) in path:
        raise CannotCarry("it contains itself")
    if len(path) >= MAX_DEPTH - 2:
        raise CannotCarry("it is nested too deeply")
    path.add(id(value))
    try:
        return _container(value, kind, path)
    finally:
        path.discard(id(value))


def _scalar(value: Any) -> Any:
    try:
        return encode_value(value)
    except TypeError:
        raise CannotCarry("a number with too many digits") from None


def _container(value: Any, kind: type, path: set[int]) -> Any:
    if kind is list:
        return [_form(item, path) for item in value]
    if kind is deque and value.maxlen is not None:
        raise CannotCarry("a deque with a maxlen")
    if kind in _ITEMS:
        return {_ITEMS[kind]: [_form(item, path) for item in value]}
    if kind is defaultdict:
        return {"$defaultdict": [_factory_name(value), _pairs(value, path)]}
    if kind is dict and all(type(key) is str and key[:1] != "$" and _is_clean(key) for key in value):
        return {key: _form(item, path) for key, item in value.items()}
    return {_PAIRS[kind]: _pairs(value, path)}


def _pairs(value: Mapping[Any, Any], path: set[int]) -> list[Any]:
    return [[_form(key, path), _form(item, path)] for key, item in value.items()]


def _is_clean(key: str) -> bool:
    """It has no lone surrogates, which JSON could not carry in a key."""
    return key.isascii() or type(encode_value(key)) is str


def _factory_name(value: defaultdict[Any, Any]) -> str | None:
    factory = value.default_factory
    if factory is None:
        return None
    name = _FACTORY_NAMES.get(factory) if type(factory) is type else None
    if name is None:
        raise CannotCarry("a defaultdict with a factory of its own")
    return name


def _article(kind: type) -> str:
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__repl__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    return f"a value of type {name[:100]}"


def _moment(value: datetime | time) -> str:
    if value.tzinfo is not None and type(value.tzinfo) is not timezone:
        raise CannotCarry("a time in a named zone")
    return value.isoformat()


_TEXTS: Mapping[type, tuple[str, Callable[[Any], Any]]] = {
    bytearray: ("$bytearray", lambda value: encode_value(bytes(value))),
    complex: ("$complex", lambda value: [encode_value(value.real), encode_value(value.imag)]),
    range: ("$range", lambda value: [encode_value(part) for part in (value.start, value.stop, value.step)]),
    date: ("$date", date.isoformat),
    datetime: ("$datetime", _moment),
    time: ("$time", _moment),
    timedelta: ("$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("$decimal", str),
}
"""Mark and body of what has no parts."""


def _value(form: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"a value is nested more than {MAX_DEPTH} deep")
    if type(form) is list:
        return [_value(item, depth + 1) for item in form]
    if type(form) is not dict:
        return form
    mark = next(iter(form), "")
    if mark[:1] != "$":
        return {_plain_key(key): _value(item, depth + 1) for key, item in form.items()}
    try:
        ((mark, body),) = form.items()
        made = _MADE.get(mark)
        return decode_value(form) if made is None else made(body, depth)
    except (ValueError, TypeError, KeyError, ArithmeticError) as e:
        raise WireError(f"bad {mark[:20]!r} form: {e}") from e


def _plain_key(key: str) -> str:
    if key[:1] == "$":
        raise WireError("an object with a $ key has one key")
    return key


def _items(kind: Callable[[list[Any]], Any]) -> Callable[[Any, int], Any]:
    return lambda body, depth: kind([_value(item, depth + 1) for item in body])


def _mapped(kind: Callable[[dict[Any, Any]], Any]) -> Callable[[Any, int], Any]:
    return lambda body, depth: kind({_value(key, depth + 1): _value(item, depth + 1) for key, item in body})


def _default(body: Any, depth: int) -> Any:
    factory, pairs = body
    made: defaultdict[Any, Any] = defaultdict(None if factory is None else _FACTORIES[factory])
    made.update((_value(key, depth + 1), _value(item, depth + 1)) for key, item in pairs)
    return made


_MADE: Mapping[str, Callable[[Any, int], Any]] = {
    "$tuple": _items(tuple),
    "$set": _items(set),
    "$frozenset": _items(frozenset),
    "$deque": _items(deque),
    "$map": _mapped(dict),
    "$counter": _mapped(Counter),
    "$ordered": _mapped(OrderedDict),
    "$defaultdict": _default,
    "$bytearray": lambda body, _depth: bytearray(decode_value(body)),
    "$complex": lambda body, _depth: complex(*map(decode_value, body)),
    "$range": lambda body, _depth: range(*map(decode_value, body)),
    "$date": lambda body, _depth: date.fromisoformat(body),
    "$datetime": lambda body, _depth: datetime.fromisoformat(body),
    "$time": lambda body, _depth: time.fromisoformat(body),
    "$timedelta": lambda body, _depth: timedelta(*body),
    "$decimal": lambda body, _depth: Decimal(body),
}
"""Makes the value of a form, by its mark."""
