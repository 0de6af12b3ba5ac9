"""Makes a provider's error text fit to be shown: without keys, without control characters, short. Providers echo the
key they refuse, whole or in part, and error texts go to terminals, logs and models."""

from __future__ import annotations

import re

SHOWN_CHARS = 500
_READ_CHARS = 4_000
_PART_CHARS = 8
_MASK = "[masked]"

_LIKE_A_KEY = re.compile(r"\bsk-[\w*.…-]{4,}|\bBearer\s+\S+|[\w.-]*\*{3,}[\w*.-]*")
_WORD = re.compile(rf"[\w+/=.~-]{{{_PART_CHARS},}}")


def redact(text: str, key: str | None) -> str:
    """`text` on one line, at most 500 characters; any 8 characters of `key`, and what looks like a key, are masked.

    A shorter key isn't a secret: servers without keys are given one of a few letters, and words have those too.
    """
    shown = text[:_READ_CHARS]
    if key and len(key) >= _PART_CHARS:
        shown = _WORD.sub(lambda word: _MASK if _shares_part(word[0], key) else word[0], shown.replace(key, _MASK))
    shown = " ".join(_LIKE_A_KEY.sub(_MASK, shown).split())
    shown = "".join(char if char.isprintable() else "?" for char in shown)
    return shown if len(shown) <= SHOWN_CHARS else shown[: SHOWN_CHARS - 1] + "…"


def _shares_part(word: str, key: str) -> bool:
    return any(word[start : start + _PART_CHARS] in key for start in range(len(word) - _PART_CHARS + 1))
