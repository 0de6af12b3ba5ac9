"""Makes the variable `context` from the file that the host placed it in, at the cost of one copy in memory."""

from __future__ import annotations

import mmap
from typing import Any

from rlm.repl.guest.wire import WireError, decode_value, unpack_value

_EMPTY = memoryview(b"")


def load(descriptor: int, kind: str, parts: list[list[Any]]) -> Any:
    """Decode a context of `kind` text, files or value; `parts` are [name, start, end] byte ranges of the file.

    Raises:
        WireError: the parts do not fit the kind.
    """
    with _view(descriptor, max((part[2] for part in parts), default=0)) as view:
        return decode(view, kind, parts)


def decode(view: memoryview, kind: str, parts: list[list[Any]]) -> Any:
    """The same from the bytes of the file. Raises:
    WireError: the parts do not fit the kind.
    """
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
