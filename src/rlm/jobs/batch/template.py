"""The prompt of each question, made of its columns: `Summarise {title} in {words} words`. Nothing but names stands in
braces, so that no column can reach further than its own text; `{{` and `}}` are braces.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Template:
    """A prompt with the names of columns in it."""

    def __init__(self, text: str) -> None:
        """Raises:
        ConfigError: what stands in braces is not the name of a column, or a brace is not closed.
        """
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ConfigError(f"--prompt: {error}\nwrite {{{{ and }}}} for braces that are meant as such") from error
        for _, name, spec, conversion in parsed:
            if name is not None and (not name.strip() or spec or conversion or set(name) & set(".[]")):
                raise ConfigError(
                    f"--prompt: {{{name}}} has to be the name of a column, and nothing else\n"
                    "write {{ and }} for braces that are meant as such"
                )
        self._parts = [(literal, name) for literal, name, _, _ in parsed]
        self.columns = tuple(dict.fromkeys(name for _, name in self._parts if name is not None))

    def fill(self, row: Mapping[str, Any]) -> str:
        """The prompt of one row.

        Raises:
            ConfigError: the row lacks a column, or has null there.
        """
        missing = [name for name in self.columns if row.get(name) is None]
        if missing:
            raise ConfigError(f"there is no {missing[0]!r}, which the prompt names; there are {shown_columns(row)}")
        return "".join(literal + ("" if name is None else _text(row[name])) for literal, name in self._parts)


def shown_columns(row: Mapping[str, Any]) -> str:
    """The names of the columns of a row, for a message."""
    return ", ".join(map(repr, list(row)[:20])) or "no columns"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
