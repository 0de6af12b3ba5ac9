"""Gives the variables of a namespace out, so that they can be put into another one, and takes such variables in.

Values go as text (`forms`), what cells defined goes as source (`definitions`), and of the rest it says why it can't go.
What was given out is the host's to run again; nothing is run here.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.definitions import definitions
from rlm.repl.guest.forms import CannotCarry, from_text, to_text
from rlm.repl.guest.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

EXPORT, IMPORT = "EXPORT_VARS", "IMPORT_VARS"
_MAX_NAMES = 2_000


class Carrier:
    """The variables of one namespace."""

    def __init__(self, names: dict[str, Any], is_own: Callable[[str, Any], bool]) -> None:
        """`is_own` tells variables of the user from what the runtime put there."""
        self._names = names
        self._is_own = is_own
        self._cells: list[str] = []

    def note(self, code: str) -> None:
        """Keep the text of a cell, for what it defines."""
        self._cells.append(code)

    def give(self, max_bytes: int) -> dict[str, Any]:
        """`values` (name -> text), `definitions` ([names, source]) and `lost` (name -> why), in at most that size."""
        values: dict[str, str] = {}
        lost: dict[str, str] = {}
        room = max_bytes
        for name, value in [each for each in self._names.items() if self._is_own(*each)]:
            try:
                values[name] = text = _text(value, room if len(values) < _MAX_NAMES else 0)
                room -= len(text.encode("utf-8", "surrogatepass"))
            except CannotCarry as reason:
                lost[name] = str(reason)
        sources = _fitting(definitions(self._cells, frozenset(lost)), room)
        made = {name for names, _source in sources for name in names}
        lost = {name: lost[name] for name in list(lost)[:_MAX_NAMES] if name not in made}
        return {"values": values, "definitions": [list(each) for each in sources], "lost": lost}

    def take(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Set variables from their texts; returns why each that could not be set was not."""
        refused = {}
        self._cells.clear()  # what these came in is no cell of the user's, and may be large
        for name, text in texts.items():
            if not name.isidentifier() or not self._is_own(name, None):
                refused[name] = "the runtime uses that name itself"
                continue
            try:
                self._names[name] = from_text(text)
            except (WireError, MemoryError) as error:
                refused[name] = str(error) or "there is not enough memory"
        return refused


def _text(value: Any, room: int) -> str:
    try:
        if isinstance(value, str | bytes | list | tuple | dict | set | frozenset) and len(value) > room:
            raise CannotCarry("it is too large")
        text = to_text(value)
    except (RecursionError, MemoryError):
        raise CannotCarry("it is too large") from None
    if len(text) > room:
        raise CannotCarry("it is too large")
    return text


def _fitting(sources: list[tuple[list[str], str]], room: int) -> list[tuple[list[str], str]]:
    fitting = []
    for names, source in sources:
        room -= len(source.encode("utf-8", "surrogatepass"))
        if room >= 0:
            fitting.append((names, source))
    return fitting
