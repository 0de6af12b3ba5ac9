"""Finds the secrets in one text and puts a label in the place of each: every detector over it, the spans merged.

The same text gives the same result wherever it is masked; masking masked text changes nothing; time is linear in its
length. What is masked and what is not: docs/masking.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from rlm.secrets.addresses import find_addresses
from rlm.secrets.assigned import find_assigned, mentions
from rlm.secrets.colours import uncoloured
from rlm.secrets.commands import find_placed
from rlm.secrets.families import find_tokens
from rlm.secrets.key_blocks import find_blocks
from rlm.secrets.known import KnownValues
from rlm.secrets.personal import find_personal
from rlm.secrets.sentences import find_said
from rlm.secrets.spans import SecretSpan, merged, replaced
from rlm.secrets.unlabelled import find_unlabelled

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_CHARS: Final = 6
"""The length of the shortest text that is searched: a shorter one holds no secret that could be told as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMasker:
    """Masks the secrets in a text, and personal data too where asked."""

    personal: bool = False
    known: KnownValues = field(default_factory=lambda: KnownValues({}))

    def mask(self, text: str) -> str:
        """`text` with `[REDACTED_<FAMILY>]` in the place of every secret."""
        spans = self.find(text)
        return replaced(text, spans) if spans else text

    def find(self, text: str) -> list[SecretSpan]:
        """The spans that `mask` replaces, in order; they don't overlap."""
        if len(text) < LEAST_CHARS:
            return []
        plain = uncoloured(text)
        if plain is None:
            return merged(text, self._found(text))
        return merged(text, plain.back(merged(plain.text, self._found(plain.text))))

    def _found(self, text: str) -> Iterator[SecretSpan]:
        # The same length as `text`: what issuers and formats define is ASCII, which is searched twice as fast.
        narrow = text if text.isascii() else text.encode("ascii", "replace").decode("ascii")
        lower = narrow.lower()
        places = mentions(lower)
        yield from chain(
            self.known.find(text),
            find_blocks(narrow),
            find_addresses(narrow),
            find_tokens(narrow),
            find_assigned(text, places),
            find_placed(narrow, lower, places),
            find_unlabelled(narrow, lower, places),
            find_said(text, lower, places),
        )
        if self.personal:
            yield from find_personal(text, lower)
