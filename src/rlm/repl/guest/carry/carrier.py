"""Gives the variables of a namespace out, so that they can be put into another one, and takes such variables in.

Values go as text (`forms`), what cells defined goes as source (`definitions`), and of the rest it says why it can't go.
What was given out is the host's to run again; nothing is run here. Texts go in pieces, each of which fits a frame.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.carry.definitions import Definitions, imported
from rlm.repl.guest.carry.forms import CannotCarry, from_text, to_text
from rlm.repl.guest.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rlm.repl.guest.carry.definitions import Source

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

EXPORT, PIECE, IMPORT = "EXPORT_VARS", "EXPORTED_PIECE", "IMPORT_VARS"
PIECE_CHARS = 4 << 20
"""The most characters of text in one piece: it fits a frame even where each takes six bytes."""
_MAX_NAMES = 2_000
_MAX_NAME_CHARS = 200


class Carrier:
    """The variables of one namespace."""

    def __init__(self, names: dict[str, Any], is_own: Callable[[str, Any], bool]) -> None:
        """`is_own` tells variables of the user from what the runtime put there."""
        self._names = names
        self._is_own = is_own
        self._definitions = Definitions()
        self._given: list[list[list[str]]] = []
        self._taken: dict[str, list[str]] = {}
        self._has_carried = False

    def note(self, code: str, failed_at: int | None) -> None:
        """Remember a cell that ran, up to the line where it failed if it did, for what it defines."""
        if self._has_carried:  # it was the host's, and may be large
            self._has_carried = False
        else:
            self._definitions.note(code, failed_at)

    def give(self, max_bytes: int) -> dict[str, Any]:
        """`definitions` ([names, source]), `lost` (name -> why), and how many `pieces` of texts `piece` gives then."""
        self._has_carried = True
        texts: dict[str, str] = {}
        lost: dict[str, str] = {}
        room = max_bytes
        for name, value in list(self._names.items()):
            if not _is_variable(name) or not self._is_own(name, value):
                continue
            if len(texts) >= _MAX_NAMES:
                lost[name] = f"there are more than {_MAX_NAMES:,} variables"
                continue
            try:
                texts[name] = text = _text(value, room)
                room -= _size_bytes(text)
            except CannotCarry as reason:
                lost[name] = str(reason)
        sources = _fitting(self._sources(lost), room)
        made = {name for names, _source in sources for name in names}
        self._given = list(pieces(texts))
        return {
            "definitions": [list(each) for each in sources],
            "lost": {name: lost[name] for name in list(lost)[:_MAX_NAMES] if name not in made},
            "pieces": len(self._given),
        }

    def piece(self, number: int) -> list[list[str]]:
        """One of the pieces: names, each with a part of its text. Each piece is given once."""
        self._has_carried = True
        given, self._given[number] = self._given[number], []
        return given

    def take(self, piece: Iterable[tuple[str, str]], *, is_last: bool) -> dict[str, str]:
        """Take a piece, and set the variables with the last one; returns why each that could not be set was not."""
        self._has_carried = True
        for name, part in piece:
            self._taken.setdefault(name, []).append(part)
        taken, self._taken = (self._taken, {}) if is_last else ({}, self._taken)
        refused = {}
        for name, parts in taken.items():
            if not name.isidentifier() or not self._is_own(name, None):
                refused[name] = "the runtime uses that name itself"
                continue
            try:
                self._names[name] = from_text("".join(parts))
            except (WireError, MemoryError) as error:
                refused[name] = str(error) or "there is not enough memory"
            parts.clear()
        return refused

    def _sources(self, lost: Mapping[str, str]) -> list[Source]:
        """The source that makes those names again: imports first, as other definitions may use them."""
        sources = self._definitions.sources(frozenset(lost))
        made = {name for names, _source in sources for name in names}
        others = {name: imported(name, self._names[name]) for name in lost if name not in made}
        return [*(([name], source) for name, source in others.items() if source is not None), *sources]


def _is_variable(name: object) -> bool:
    return type(name) is str and name.isidentifier() and len(name) <= _MAX_NAME_CHARS


def pieces(texts: Mapping[str, str]) -> Iterator[list[list[str]]]:
    """Names with the parts of their texts, in order, in pieces that fit a frame."""
    piece: list[list[str]] = []
    size = 0
    for name, text in texts.items():
        for start in range(0, len(text), PIECE_CHARS):
            part = text[start : start + PIECE_CHARS]
            if piece and size + len(part) > PIECE_CHARS:
                yield piece
                piece, size = [], 0
            piece.append([name, part])
            size += len(part)
    if piece:
        yield piece


def taking(texts: Mapping[str, str]) -> Iterator[str]:
    """The code of the cells that set variables; the last gives why each that could not be set was not."""
    yield from (f"{IMPORT}({piece!r}, is_last=False)" for piece in pieces(texts))
    yield f"FINAL({IMPORT}((), is_last=True))"


def _text(value: Any, room: int) -> str:
    try:
        text = to_text(value, room)
    except (RecursionError, MemoryError):
        raise CannotCarry("it is too large") from None
    except RuntimeError:  # it changed size, says the loop over it
        raise CannotCarry("a thread changes it") from None
    if _size_bytes(text) > room:
        raise CannotCarry("it is too large")
    return text


def _size_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _fitting(sources: list[Source], room: int) -> list[Source]:
    fitting = []
    defined = 0
    for names, source in sources:
        room -= len(source.encode("utf-8", "surrogatepass"))
        defined += len(names)
        if room >= 0 and defined <= _MAX_NAMES:
            fitting.append((names, source))
    return fitting
