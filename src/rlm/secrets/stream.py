"""Masks text that arrives in pieces, so that a secret split over two of them is caught as it would be in one.

Whole lines go on at once: what is masked in a line depends on itself and on the line before, which is remembered. The
last line is held back until it ends, but at most 64 thousand characters of it, and a private key until its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rlm.secrets.key_blocks import open_block
from rlm.secrets.spans import replaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.secrets.spans import SecretSpan
    from rlm.secrets.text_masking import TextMasker

LINE_CHARS: Final = 65_536
"""The most characters of a line that are held back; a longer one is cut, but never within a secret."""
_TAIL_CHARS: Final = 8_192
"""How many characters of such a line are still held back: more than any secret has, except a key block."""
_BEFORE_CHARS: Final = 512
"""How many characters of the text before are remembered: more than the reach of a name or a mention."""


class MaskStream:
    """One stream of text being masked; `feed` and `close` return what is ready, in order."""

    def __init__(self, masker: TextMasker) -> None:
        self._masker = masker
        self._text = ""
        """The end of what was given out, as far as it matters for what follows, then what is held back."""
        self._known = 0
        """How much of it was given out."""

    def feed(self, chunk: str) -> str:
        """Take the next piece and return the text that is ready, which may be empty."""
        self._text += chunk
        newline = self._text.rfind("\n", len(self._text) - len(chunk))
        if newline < 0:
            end = len(self._text)
            return "" if end - self._known <= LINE_CHARS or self._open_block(end) >= 0 else self._cut()
        block = self._open_block(newline + 1)
        return self._release(newline + 1 if block < 0 else self._text.rfind("\n", self._known, block) + 1)

    def close(self) -> str:
        """Return the rest of the text, masked."""
        return self._release(len(self._text))

    def _open_block(self, end: int) -> int:
        return open_block(self._text, self._known, end)

    def _release(self, end: int) -> str:
        return "" if end <= self._known else self._given(end, self._masker.find(self._text[:end]))

    def _cut(self) -> str:
        """Return the beginning of a line that is too long: up to a gap between words, and never within a secret."""
        at = len(self._text) - _TAIL_CHARS
        blank = self._text.rfind(" ", at - _BEFORE_CHARS, at)
        spans = self._masker.find(self._text)
        cut = at if blank < 0 else blank
        cut = next((span.start for span in spans if span.start < cut < span.end), cut)
        return self._given(max(self._known, cut), spans)

    def _given(self, end: int, spans: Sequence[SecretSpan]) -> str:
        """Give out the text up to `end`, within none of `spans`, with these masked."""
        text, known = self._text, self._known
        line = max(text.rfind("\n", 0, end - 1) + 1, end - _BEFORE_CHARS)  # the last one, as far as it matters
        self._text, self._known = text[line:], end - line
        new = [span._replace(start=max(span.start, known)) for span in spans if known < span.end <= end]
        return replaced(text, new, known, end)
