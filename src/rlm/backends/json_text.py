"""JSON bytes, for every wire. Written strictly: text from guests and models may hold characters that JSON cannot carry.
Read kindly: what servers send may hold half a character, a raw line break or NaN, and is a good reply all the same."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rlm.core.types import Json

_BOM = b"\xef\xbb\xbf"
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_NO_BYTE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
"""Lone surrogates that do not stand for a byte, as those that the handler `surrogateescape` makes do."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode(body: msgspec.Struct) -> bytes:
    """`body` as JSON; lone surrogates become question marks."""
    try:
        return _encoder.encode(body)
    except UnicodeEncodeError:
        return _encoder.encode(without_surrogates(msgspec.to_builtins(body)))


def decode(data: bytes) -> Json:
    """The value that `data` is; bytes that are not UTF-8 and halves of characters are kept in it as lone surrogates.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = data.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole_text(text: str) -> str:
    """`text` with its halves of characters joined, be they surrogates or bytes; a half alone becomes U+FFFD."""
    if _SURROGATES.search(text) is None:
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _NO_BYTE.sub("\ufffd", joined).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def without_surrogates(value: Json) -> Json:
    """`value` with question marks for lone surrogates, in its keys too."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value
