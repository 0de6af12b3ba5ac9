"""Makes the variable `context` from the file that the host placed it in, at the cost of one copy in memory, and knows
later whether a cell has changed it.
"""

from __future__ import annotations

import builtins
import mmap
from operator import is_
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.wire import WireError, decode_value, unpack_value

if TYPE_CHECKING:
    from collections.abc import Iterator

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

SHARED_FROM_BYTES = 1 << 20
"""A context of at least this size goes to the host by name; a smaller one as the value that it is."""
_EMPTY = memoryview(b"")


class Given:
    """A context as it was given to the REPL.

    Lists and dicts alone can be changed in it, so their items tell whether it still is what was given. They are held:
    the place of one that was freed might be taken by another.
    """

    def __init__(self, value: Any, size_bytes: int) -> None:
        self.value = value
        self._is_large = size_bytes >= SHARED_FROM_BYTES
        self._items = list(_containers(value)) if self._is_large else []

    def stands_for(self, value: Any) -> bool:
        """Whether `value` is this context, large and unchanged, so that the host, which has it, need not be sent it."""
        if value is not self.value or not self._is_large:
            return False
        present = _containers(value)
        return all(_are_same(next(present, ()), items) for items in self._items)


def load(descriptor: int, kind: str, parts: list[list[Any]]) -> Given:
    """Decode a context of `kind` text, files or value; `parts` are [name, start, end] byte ranges of the file.

    Raises:
        WireError: the parts do not fit the kind.
    """
    with _view(descriptor, size_bytes(parts)) as view:
        return decode(view, kind, parts)


def decode(view: memoryview, kind: str, parts: list[list[Any]]) -> Given:
    """The same from the bytes of the file. Raises:
    WireError: the parts do not fit the kind.
    """
    return Given(_value(view, kind, parts), size_bytes(parts))


def size_bytes(parts: list[list[Any]]) -> int:
    """The size of the file that has these parts."""
    return max((part[2] for part in parts), default=0)


def _containers(value: Any) -> Iterator[tuple[Any, ...]]:
    """The items of every list and dict in `value`, keys too; what is in one is looked at after that was taken."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if type(part) is dict:
            items = (*part, *part.values())
        elif type(part) is list:
            items = tuple(part)
        else:
            continue
        yield items
        waiting += [item for item in items if type(item) is list or type(item) is dict]


def _are_same(present: tuple[Any, ...], items: tuple[Any, ...]) -> bool:
    return len(present) == len(items) and all(map(is_, present, items))


def _value(view: memoryview, kind: str, parts: list[list[Any]]) -> Any:
    if kind == "files":
        return {name: _text(view, start, end) for name, start, end in parts}
    ((_name, start, end),) = parts
    text = _text(view, start, end)
    if kind == "text":
        return text
    if kind == "value":
        return decode_value(unpack_value(text))
    raise WireError(f"unknown kind of context: {kind!r}")


def _view(descriptor: int, size: int) -> memoryview:
    """The file's pages themselves, decoded from where they are: no bytes object in between."""
    return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ)) if size else _EMPTY[:]


def _text(view: memoryview, start: int, end: int) -> str:
    return str(view[start:end], "utf-8", "surrogatepass")
