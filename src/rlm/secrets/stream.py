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
        self._held = ""
        self._before = ""

    def feed(self, chunk: str) -> str:
        """Take the next piece and return the text that is ready, which may be empty."""
        self._held += chunk
        newline = self._held.rfind("\n", len(self._held) - len(chunk))
        if newline < 0:
            return "" if len(self._held) <= LINE_CHARS or open_block(self._held) >= 0 else self._cut()
        block = open_block(self._held[: newline + 1])
        return self._release(newline + 1 if block < 0 else self._held.rfind("\n", 0, block) + 1)

    def close(self) -> str:
        """Return the rest of the text, masked."""
        return self._release(len(self._held))

    def _release(self, end: int) -> str:
        if not end:
            return ""
        return self._masked(end, self._masker.find(self._before + self._held[:end]))

    def _cut(self) -> str:
        """Return the beginning of a line that is too long: up to a gap between words, and never within a secret."""
        at = len(self._held) - _TAIL_CHARS
        blank = self._held.rfind(" ", at - _BEFORE_CHARS, at)
        known, spans = len(self._before), self._masker.find(self._before + self._held)
        cut = known + (at if blank < 0 else blank)
        cut = next((span.start for span in spans if span.start < cut < span.end), cut)
        return self._masked(max(0, cut - known), [span for span in spans if span.end <= cut])

    def _masked(self, end: int, spans: Sequence[SecretSpan]) -> str:
        """Take what is held up to `end`, and return it with its secrets masked; `spans` count the text before too."""
        known, text = len(self._before), self._before + self._held[:end]
        self._held = self._held[end:]
        self._before = _last_line(text)
        new = [span._replace(start=max(span.start, known)) for span in spans if span.end > known]
        return replaced(text, new)[known:]


def _last_line(text: str) -> str:
    """The end of the last line, as far as it matters for the next one."""
    return text[max(text.rfind("\n", 0, len(text) - 1) + 1, len(text) - _BEFORE_CHARS) :]
