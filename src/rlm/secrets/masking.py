"""Masks secrets in text: every detector over it, the spans merged, a label in the place of each.

The same text gives the same result wherever it is masked; masking masked text changes nothing; time is linear in its
length. What is masked and what is not: docs/masking.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rlm.secrets.addresses import find_addresses
from rlm.secrets.assigned import find_assigned, mentions
from rlm.secrets.colours import uncoloured
from rlm.secrets.commands import find_placed
from rlm.secrets.families import find_tokens
from rlm.secrets.key_blocks import find_blocks
from rlm.secrets.known import KnownValues
from rlm.secrets.nested import mask_nested
from rlm.secrets.personal import find_personal
from rlm.secrets.spans import SecretSpan, merged, replaced
from rlm.secrets.stream import MaskStream
from rlm.secrets.unlabelled import find_unlabelled

if TYPE_CHECKING:
    from collections.abc import Iterator

Level: TypeAlias = Literal["secrets", "pii", "off"]

LEAST_CHARS: Final = 6
"""Shorter text is too short for a secret with a sign of being one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMasker:
    """Masks secrets, and personal data too where asked; implements `core.interfaces.Masker`."""

    personal: bool = False
    known: KnownValues = field(default_factory=lambda: KnownValues({}))

    def mask(self, text: str) -> str:
        """`text` with `[REDACTED_<FAMILY>]` in the place of every secret."""
        spans = self.find(text)
        return replaced(text, spans) if spans else text

    def mask_value(self, value: Any) -> Any:
        """A masked copy of nested data, of the same shape; a key such as `password` makes its value a secret."""
        return mask_nested(self, value)

    def stream(self) -> MaskStream:
        """Masks a text that arrives in pieces."""
        return MaskStream(self)

    def find(self, text: str) -> list[SecretSpan]:
        """The places that `mask` replaces, in order and apart."""
        if len(text) < LEAST_CHARS:
            return []
        plain = uncoloured(text)
        if plain is None:
            return merged(text, self._found(text))
        return merged(text, plain.back(merged(plain.text, self._found(plain.text))))

    def _found(self, text: str) -> Iterator[SecretSpan]:
        # Of the same length: what issuers and formats define is ASCII, which is searched twice as fast.
        narrow = text if text.isascii() else text.encode("ascii", "replace").decode("ascii")
        lower = narrow.lower()
        places = mentions(lower)
        yield from chain(
            self.known.find(text),
            find_blocks(narrow),
            find_addresses(narrow),
            find_tokens(narrow),
            find_assigned(text, places),
            find_placed(narrow, lower),
            find_unlabelled(narrow, lower, places),
        )
        if self.personal:
            yield from find_personal(text, lower)


def masker(level: Level) -> SecretMasker | None:
    """The masker of a level, with the secrets of this process's environment; None for `off`."""
    if level == "off":
        return None
    return SecretMasker(personal=level == "pii", known=KnownValues.of())


def mask_secrets(text: str, *, level: Level = "secrets") -> str:
    """`text` with a label such as `[REDACTED_API_KEY]` in the place of every secret.

    `level="pii"` masks personal data too. The secrets in this process's environment are masked wherever they stand.
    """
    masking = masker(level)
    return text if masking is None else masking.mask(text)


def mask_value(value: Any, *, level: Level = "secrets") -> Any:
    """A masked copy of nested dicts, lists, tuples, sets, text and bytes: the same shape, sharing and cycles kept."""
    masking = masker(level)
    return value if masking is None else masking.mask_value(value)
