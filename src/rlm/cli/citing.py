"""The sources of an answer as text: a numbered list below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.dialects import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.types import Citation

_QUOTE_CHARS = 200


def with_sources(answer: str, sources: Sequence[Citation]) -> str:
    """The answer, and below it where the data has the words that it rests on."""
    if not sources:
        return answer
    lines = [f"[{number}] {_source(source)}" for number, source in enumerate(sources, 1)]
    return "\n".join((answer.rstrip("\n"), "", "Sources:", *lines))


def _source(source: Citation) -> str:
    quote = f'"{shorten(" ".join(source.quote.split()), _QUOTE_CHARS)}"'
    if not source.holds:
        near = f' (the nearest, {_place(source)}: "{shorten(" ".join(source.nearest.split()), _QUOTE_CHARS)}")'
        return f"NOT IN THE DATA: {quote}{near if source.nearest else ''}"
    place = _place(source)
    return f"{place}: {quote}" if place else quote


def _place(source: Citation) -> str:
    """`notes.txt, line 7`, as far as it is known."""
    line = "" if source.line is None else f"line {source.line:,}"
    return ", ".join(part for part in (source.file or source.path, line) if part)
