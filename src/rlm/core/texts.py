"""Changes the texts in a value of any of the kinds that events carry, and copies no more of it than has changed.

Names that the runtime gives itself (ids, keys, digests) are no texts: what depends on them would be lost.
"""

from __future__ import annotations

import dataclasses
import math
from operator import is_
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec

from rlm.core.parts import SIMPLE, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_MAX_INT = 1 << 63
_PLAIN: Final = (str, bool)
_SURELY_PLAIN: Final = frozenset((type(None), str, bool))
_LISTS: Final = (list, tuple)
_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
NAMES = frozenset({"id", "tool_call_id", "key", "digest", "same_as", "salt", "resumed_from", "forked_from"})


Change: TypeAlias = "Callable[[str], str]"
ChangeMapping: TypeAlias = "Callable[[dict[Any, Any]], dict[Any, Any]]"


def change_texts(value: T, change: Change, mapping: ChangeMapping | None = None) -> T:
    """`value` with every text in it changed; itself where none is.

    `mapping` changes a dict and all in it at once, for a change that depends on the keys.
    """
    changed: T = _change(value, change, mapping)
    return changed


def escape_surrogates(text: str) -> str:
    """Return `text` as UTF-8 and JSON can carry it: a lone surrogate becomes its escape, as in `\\udce9`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def escape_line_ends(line: bytes) -> bytes:
    """A line of JSON with U+0085, U+2028 and U+2029 as escapes: `str.splitlines` and some readers end lines there."""
    for raw, escape in _LINE_ENDS:
        if raw in line:
            line = line.replace(raw, escape)
    return line


def escape_bytes(content: bytes) -> str:
    """Return the text of `content`: a byte that isn't UTF-8 becomes its escape, as in `caf\\xe9`."""
    return content.decode("utf-8", "backslashreplace")


def is_plain(value: Any) -> bool:
    """Whether JSON brings it back as it was: no bytes, no NaN, no large numbers, no keys but texts."""
    if value is None or isinstance(value, _PLAIN):
        return True
    if isinstance(value, int):
        return -_MAX_INT <= value < _MAX_INT
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, _LISTS):
        return all(map(is_plain, value))
    names = fields_of(value)
    if names is None:
        return False
    values = [getattr(value, name) for name in names]
    return all(map(is_plain, [each for each in values if type(each) not in _SURELY_PLAIN]))


def _change(value: Any, change: Change, mapping: ChangeMapping | None) -> Any:
    if isinstance(value, str):
        return _same(value, change(value))
    if isinstance(value, dict):
        return _mapping(value, change) if mapping is None else _same(value, mapping(value))
    if isinstance(value, _LISTS):
        items = [_change(item, change, mapping) for item in value]
        return value if all(map(is_, items, value)) else type(value)(items)
    names = fields_of(value)
    changes = _changes(value, names, change, mapping) if names else {}
    return _replaced(value, changes) if changes else value


def _same(before: Any, after: Any) -> Any:
    return before if after == before else after


def _mapping(value: dict[Any, Any], change: Change) -> Any:
    pairs = [(_change(key, change, None), _change(item, change, None)) for key, item in value.items()]
    before = value.items()
    same = all(pair[0] is old[0] and pair[1] is old[1] for pair, old in zip(pairs, before, strict=True))
    return value if same else dict(pairs)


def _changes(value: Any, names: Iterable[str], change: Change, mapping: ChangeMapping | None) -> dict[str, Any]:
    """The fields that change."""
    changes = {}
    for name in names:
        before = getattr(value, name)
        if type(before) in SIMPLE or name in NAMES:
            continue
        after = _change(before, change, mapping)
        if after is not before:
            changes[name] = after
    return changes


def _replaced(value: Any, changes: dict[str, Any]) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)
