"""What is said of the sources of an answer: quotes that the data doesn't have, or none where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.types import Citation

NOT_THERE = (
    "Held back: the data has no such words as {quotes}. Quote exact words of `context`; cite(quote) in code says where "
    "they are, and what is near. Then give FINAL(answer, sources=[...]) again. If you have none, send the same again."
)
MISSING = (
    "Held back: an answer is asked for with its sources. In code, give "
    'FINAL(answer, sources=["exact words of `context`", ...]); cite(quote) says whether the data has them.'
)
_SHOWN = 5
_QUOTE_CHARS = 80
_NEAREST_CHARS = 120


def wrong_sources(sources: Sequence[Citation], *, asked: bool) -> str:
    """What is to be said of them; empty where they hold."""
    wrong = [source for source in sources if not source.holds]
    if wrong:
        more = len(wrong) - _SHOWN
        quotes = "; ".join(map(_quoted, wrong[:_SHOWN])) + (f"; and {more} more" if more > 0 else "")
        return NOT_THERE.format(quotes=quotes)
    return MISSING if asked and not sources else ""


def _quoted(source: Citation) -> str:
    near = f" (the nearest: {_cut(source.nearest, _NEAREST_CHARS)!r})" if source.nearest else ""
    return f"{_cut(source.quote, _QUOTE_CHARS)!r}{near}"


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"
