"""The masker that the runtime, its users and the sinks hold: texts, nested values, and text that arrives in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rlm.secrets.known import KnownValues
from rlm.secrets.nested import mask_nested
from rlm.secrets.stream import MaskStream
from rlm.secrets.text_masking import TextMasker

Level: TypeAlias = Literal["secrets", "pii", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMasker(TextMasker):
    """Masks secrets, and personal data too where asked; implements `core.interfaces.Masker`."""

    def mask_value(self, value: Any) -> Any:
        """A masked copy of nested data with the same shape; a key such as `password` makes its value a secret."""
        return mask_nested(self, value)

    def stream(self) -> MaskStream:
        """A stream that masks text which arrives in pieces."""
        return MaskStream(self)


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
