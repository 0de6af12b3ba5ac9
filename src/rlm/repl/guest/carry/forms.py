"""Values as JSON text from which the very same values come back: what a session carries from one REPL to another.

The forms are those of the wire and, for what the wire shows as lists and dicts, a few more; a value that would come
back as something else is refused. Never pickle: what is read may have been written by anybody.
"""

from __future__ import annotations

import builtins
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.wire import (
    MAX_DEPTH,
    WireError,
    check_keys,
    decode_value,
    encode_value,
    escape_surrogates,
    pack_value,
    unpack_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_ATOMS = frozenset({type(None), bool, int, float, str})
_SCALARS = _ATOMS | {bytes}
_IS_STR = frozenset({str})
_MAX_LEVELS = MAX_DEPTH - 2
_ITEMS: Mapping[type, str] = {
    tuple: "$tuple", set: "$set", frozenset: "$frozenset", deque: "$deque",
}  # fmt: skip
_PAIRS: Mapping[type, str] = {dict: "$map", Counter: "$counter", OrderedDict: "$ordered"}
_FACTORIES: Mapping[str, type] = {each.__name__: each for each in (int, float, str, list, dict, set, tuple)}
_FACTORY_NAMES = {each: name for name, each in _FACTORIES.items()}


_name_of = type.__dict__["__qualname__"].__get__
_module_of = type.__dict__["__module__"].__get__
"""The methods of the builtin types themselves, whatever a class of the cells makes of them."""


class CannotCarry(Exception):
    """A value has no form from which it would come back; the message says which part, and why."""


def to_text(value: Any, max_chars: int = sys.maxsize) -> str:
    """The JSON text of `value`.

    Raises:
        CannotCarry: it would not come back as it is, or its text would have more than `max_chars` characters.
    """
    text = _plain_text(value, max_chars)
    if text is None:
        text = str(pack_value(_Forms(max_chars).form(value)), "utf-8")
    if len(text) > max_chars:
        raise CannotCarry("it is too large")
    return text


def from_text(text: str) -> Any:
    """The value of that text. Raises:
    WireError: it is not the text of a value.
    """
    form = unpack_value(text)
    if '"$' in text or not _is_shallow(form):
        return _value(form, 0)
    return form


def _plain_text(value: Any, max_chars: int) -> str | None:
    """The text of a value that is JSON already, or None: the short way, for most of what is large."""
    if not _is_plain(value, max_chars):
        return None
    try:
        text = str(pack_value(value), "utf-8")
    except ValueError:  # NaN, a lone surrogate, a number too long: they have forms
        return None
    return None if '"$' in text else text


def _is_plain(value: Any, max_chars: int) -> bool:
    """Whether it has only lists, dicts with text as keys, and atoms, and no part of it stands in two places."""
    if type(value) in _ATOMS:
        return True
    level, chars, seen = [value], 0, set()
    for _ in range(_MAX_LEVELS):
        deeper: list[Any] = []
        for part in level:
            kind = type(part)
            if kind is list:
                items = part
            elif kind is dict and _IS_STR.issuperset(map(type, part)):
                items = part.values()
                chars += sum(map(len, part))
            else:
                return False
            if id(part) in seen:
                return False
            seen.add(id(part))
            chars += 2 * len(part) + sum([len(item) for item in items if type(item) is str])
            deeper += [item for item in items if type(item) not in _ATOMS]
        if chars > max_chars:
            raise CannotCarry("it is too large")
        if not deeper:
            return True
        level = deeper
    return False


def _is_shallow(form: Any) -> bool:
    """Whether it is nested no deeper than a value may be."""
    level = [form]
    for _ in range(MAX_DEPTH):
        parts = [part.values() if type(part) is dict else part for part in level if type(part) not in _ATOMS]
        level = [item for part in parts for item in part if type(item) not in _ATOMS]
        if not level:
            return True
    return False


class _Forms:
    """Makes the form of one value, in a bounded number of characters: what is in it twice is looked at once."""

    def __init__(self, max_chars: int) -> None:
        self._room = max_chars
        self._path: set[int] = set()
        self._made: dict[int, tuple[Any, Any, int, int]] = {}
        """id -> the part itself, which keeps the id its own; its form; its characters; how deep it stood."""

    def form(self, value: Any) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            self._spend(len(value) if kind is str or kind is bytes else 1)
            return _scalar(value)
        if kind in _TEXTS:
            self._spend(len(value) if kind is bytearray else 1)
            return {_TEXTS[kind][0]: _TEXTS[kind][1](value)}
        if kind is not list and kind is not defaultdict and kind not in _ITEMS and kind not in _PAIRS:
            raise CannotCarry(_article(kind))
        made = self._made.get(id(value))
        if made is not None and len(self._path) <= made[3]:
            self._spend(made[2])
            return made[1]
        return self._new(value, kind)

    def _new(self, value: Any, kind: type) -> Any:
        if id(value) in self._path:
            raise CannotCarry("it contains itself")
        if len(self._path) >= _MAX_LEVELS:
            raise CannotCarry("it is nested too deeply")
        depth, room = len(self._path), self._room
        self._path.add(id(value))
        try:
            self._spend(len(value) + 2)
            form = self._container(value, kind)
        finally:
            self._path.discard(id(value))
        self._made[id(value)] = (value, form, room - self._room, depth)
        return form

    def _container(self, value: Any, kind: type) -> Any:
        if kind is list:
            return [self.form(item) for item in value]
        if kind is deque and value.maxlen is not None:
            raise CannotCarry("a deque with a maxlen")
        if kind in _ITEMS:
            return {_ITEMS[kind]: [self.form(item) for item in value]}
        if kind is defaultdict:
            return {"$defaultdict": [_factory_name(value), self._pairs(value)]}
        if kind is dict and all(type(key) is str and key[:1] != "$" and _is_clean(key) for key in value):
            self._spend(sum(map(len, value)))
            return {key: self.form(item) for key, item in value.items()}
        return {_PAIRS[kind]: self._pairs(value)}

    def _pairs(self, value: Mapping[Any, Any]) -> list[Any]:
        return [[self.form(key), self.form(item)] for key, item in value.items()]

    def _spend(self, chars: int) -> None:
        self._room -= chars
        if self._room < 0:
            raise CannotCarry("it is too large")


def _scalar(value: Any) -> Any:
    try:
        return encode_value(value)
    except TypeError:
        raise CannotCarry("a number with too many digits") from None


def _is_clean(key: str) -> bool:
    """Whether it has no lone surrogates, which JSON could not carry in a key."""
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
    module, name = _module_of(kind), _name_of(kind)
    own = type(module) is not str or module in ("builtins", "__repl__")
    hint = "; keep its str()" if module == "pathlib" else ""
    text = f"a value of type {name[:100] if own else f'{module[:100]}.{name[:100]}'}{hint}"
    return escape_surrogates(text)


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
"""The mark of a value without parts and the function that makes its body, by the type of the value."""


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


def _hashed(kind: Callable[[list[Any]], Any]) -> Callable[[Any, int], Any]:
    return lambda body, depth: kind(check_keys([_value(item, depth + 1) for item in body]))


def _mapped(kind: Callable[[dict[Any, Any]], Any]) -> Callable[[Any, int], Any]:
    return lambda body, depth: kind(_dict(body, depth))


def _dict(body: Any, depth: int) -> dict[Any, Any]:
    keys = check_keys([_value(key, depth + 1) for key, _item in body])
    return dict(zip(keys, [_value(item, depth + 1) for _key, item in body], strict=True))


def _default(body: Any, depth: int) -> Any:
    factory, pairs = body
    made: defaultdict[Any, Any] = defaultdict(None if factory is None else _FACTORIES[factory])
    made.update(_dict(pairs, depth))
    return made


_MADE: Mapping[str, Callable[[Any, int], Any]] = {
    "$tuple": _items(tuple),
    "$set": _hashed(set),
    "$frozenset": _hashed(frozenset),
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
