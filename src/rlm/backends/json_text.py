"""Requests as JSON bytes, for every wire: text from guests and models may hold characters that JSON cannot carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rlm.core.types import Json

_encoder = msgspec.json.Encoder()


def encode(body: msgspec.Struct) -> bytes:
    """`body` as JSON; lone surrogates become question marks."""
    try:
        return _encoder.encode(body)
    except UnicodeEncodeError:
        return _encoder.encode(without_surrogates(msgspec.to_builtins(body)))


def without_surrogates(value: Json) -> Json:
    """`value` with question marks for lone surrogates, in its keys too."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value
