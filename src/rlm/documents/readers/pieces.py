"""What readers yield, and how they refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Piece: TypeAlias = tuple[Literal["mark", "text", "note"], str]
"""A mark begins a page, a sheet, a slide or a message, and says which; a text goes on; a note is for the user."""


class Unreadable(Exception):
    """A document can't be read, or not any further; says why."""


def mark(what: str) -> Piece:
    return "mark", " ".join(what.split())


def text(lines: str) -> Piece:
    return "text", lines


def note(what: str) -> Piece:
    return "note", what


def row(cells: Iterable[str]) -> str:
    """A row of a table, as Markdown writes it; line breaks in a cell become spaces."""
    shown = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(shown) + " |"
