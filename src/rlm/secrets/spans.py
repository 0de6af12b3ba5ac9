"""Spans of a text to mask, and the text with labels in their place. Knows nothing about what to look for.

Nothing that touches a label is masked again, so masking twice changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

LABEL_START = "[REDACTED_"
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,4})?")
_OF_KEY = re.compile(r"(?P<quote>\\{0,31}[\"'])[ \t]{0,80}:[ \t\r\n]{0,80}\Z")
LABEL = re.compile(r"\[REDACTED_[A-Z0-9_]{1,40}\]")


class SecretSpan(NamedTuple):
    """A span to mask, `text[start:end]`, and the family of the secret, such as API_KEY."""

    start: int
    end: int
    family: str


def label(family: str) -> str:
    """The label that replaces a secret of that family."""
    return f"{LABEL_START}{family}]"


def merged(text: str, found: Iterable[SecretSpan]) -> list[SecretSpan]:
    """The spans in order, without those that touch a label; overlapping ones become one of the longest's family."""
    spans: list[SecretSpan] = []
    longest = 0
    for span in sorted(_unmasked(text, found), key=lambda each: (each.start, -each.end)):
        size = span.end - span.start
        if not spans or span.start >= spans[-1].end:
            spans.append(span)
            longest = size
            continue
        last = spans[-1]
        family = span.family if size > longest else last.family
        longest = max(longest, size)
        spans[-1] = SecretSpan(last.start, max(last.end, span.end), family)
    return spans


def replaced(text: str, spans: Iterable[SecretSpan], start: int = 0, end: int | None = None) -> str:
    """`text[start:end]` with a label in the place of each span; the spans are in order and don't overlap.

    JSON stays JSON: the label of a number that is the value of a key has quotes, as the key has.
    """
    pieces: list[str] = []
    done = start
    for span in spans:
        quote = _quote(text, span)
        pieces += (text[done : span.start], quote, label(span.family), quote)
        done = span.end
    return "".join((*pieces, text[done:end]))


def _quote(text: str, span: SecretSpan) -> str:
    """The quote of the key whose value a number is; empty for all else."""
    if text[span.start] not in "-0123456789" or not _NUMBER.fullmatch(text, span.start, span.end):
        return ""
    key = _OF_KEY.search(text, max(0, span.start - 200), span.start)
    return "" if key is None or text[span.end : span.end + 1] not in ("", *",}] \t\r\n") else key["quote"]


def _unmasked(text: str, found: Iterable[SecretSpan]) -> Iterable[SecretSpan]:
    if LABEL_START not in text:
        return found
    return [span for span in found if not _touches_label(text, span)]


def _touches_label(text: str, span: SecretSpan) -> bool:
    # A label is at most 51 characters, so a window around the span shows every label that overlaps or adjoins it.
    window = max(0, span.start - 51)
    seen = LABEL.finditer(text, window, min(len(text), span.end + 51))
    return any(span.start <= place.end() and place.start() <= span.end for place in seen)
