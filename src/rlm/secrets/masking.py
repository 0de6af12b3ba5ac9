"""The masker that the runtime, its users and the sinks hold: texts, nested values, and text that arrives in pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rlm.core.off_loop import checkpoint
from rlm.secrets.known import KnownValues
from rlm.secrets.nested import mask_nested
from rlm.secrets.stream import LINE_CHARS, MaskStream
from rlm.secrets.text_masking import TextMasker

if TYPE_CHECKING:
    from collections.abc import Callable

Level: TypeAlias = Literal["secrets", "pii", "off"]

_LONG_REMEMBERED: Final = 4
"""How many long texts are remembered: an answer is masked for its cell, for its completion, and for its run."""
_REMEMBERED: Final = 256
"""How many other texts are remembered: each turn repeats names, and has its code in its reply and in its cell."""
_REMEMBERED_CHARS: Final = 4_096
"""The most characters of one of those."""
_PIECE_CHARS: Final = 4 * LINE_CHARS
"""How much of a long text is masked at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMasker(TextMasker):
    """Masks secrets, and personal data too where asked; implements `core.interfaces.Masker`."""

    _long: Callable[[str], str] = field(init=False, repr=False, compare=False)
    _short: Callable[[str], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_long", lru_cache(_LONG_REMEMBERED)(self._in_pieces))
        object.__setattr__(self, "_short", lru_cache(_REMEMBERED)(partial(TextMasker.mask, self)))

    def mask(self, text: str) -> str:
        """See `TextMasker.mask`; a long text is masked piece by piece, with a `checkpoint` between."""
        if len(text) <= _REMEMBERED_CHARS:
            return self._short(text)
        return self._long(text) if len(text) > LINE_CHARS else TextMasker.mask(self, text)

    def mask_value(self, value: Any) -> Any:
        """A masked copy of nested data with the same shape; a key such as `password` makes its value a secret."""
        return mask_nested(self, value)

    def stream(self) -> MaskStream:
        """A stream that masks text which arrives in pieces."""
        return MaskStream(self)

    def _in_pieces(self, text: str) -> str:
        stream, masked = MaskStream(self), list[str]()
        for start in range(0, len(text), _PIECE_CHARS):
            checkpoint()
            masked.append(stream.feed(text[start : start + _PIECE_CHARS]))
        return "".join((*masked, stream.close()))


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
