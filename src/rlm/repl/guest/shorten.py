"""A `repr` that stops at a limit instead of building all of it first: values in a cell may be gigabytes."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.wire import MAX_TEXT_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterator

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}


def short_repr(value: Any, limit: int = MAX_TEXT_CHARS) -> str:
    """`repr(value)`, cut at `limit` characters with a note that says so."""
    pieces: list[str] = []
    room = limit
    for piece in _pieces(value, limit, set()):
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            return "".join(pieces)[:limit] + f"... [cut at {limit:,} characters]"
    return "".join(pieces)


def _pieces(value: Any, limit: int, path: set[int]) -> Iterator[str]:
    kind = type(value)
    if kind is str or kind is bytes:
        yield repr(value[: limit + 1])
    elif kind not in _BRACKETS or not value:
        yield repr(value)
    elif id(value) in path:
        yield "..."
    else:
        path.add(id(value))
        yield from _container(value, limit, path)
        path.discard(id(value))


def _container(value: Any, limit: int, path: set[int]) -> Iterator[str]:
    kind = type(value)
    opening, closing = _BRACKETS[kind]
    yield opening
    for number, item in enumerate(value.items() if kind is dict else value):
        if number:
            yield ", "
        if kind is dict:
            yield from _pieces(item[0], limit, path)
            yield ": "
        yield from _pieces(item[1] if kind is dict else item, limit, path)
    yield ",)" if kind is tuple and len(value) == 1 else closing
