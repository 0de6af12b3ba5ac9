"""What cells give as the sources of an answer, as a list of quotes."""

from __future__ import annotations

import builtins
from typing import Any

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

MAX_SOURCES = 100
MAX_QUOTE_CHARS = 10_000


def quotes_of(sources: Any) -> list[str]:
    """The quotes in `sources`: a text, what `cite` gave, or a list of these.

    Raises:
        TypeError, ValueError: it is something else, or too much.
    """
    given = [sources] if isinstance(sources, (str, dict)) else list(sources or ())
    if len(given) > MAX_SOURCES:
        raise ValueError(f"FINAL: {len(given)} sources are too many: give the {MAX_SOURCES} that matter most")
    return [_quote(each) for each in given]


def _quote(source: Any) -> str:
    quote = source.get("quote") if isinstance(source, dict) else source
    if not isinstance(quote, str):
        raise TypeError(
            f"FINAL: a source is a quote of the data, a str, or what cite(quote) gave, not a {type(quote).__name__}: "
            'FINAL(answer, sources=["the exact words", ...])'
        )
    if len(quote) > MAX_QUOTE_CHARS:
        raise ValueError(f"FINAL: a source of {len(quote):,} characters is too long: quote the words, not the page")
    return quote
