"""The final answer of a cell, from its form on the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rlm.core.types import Final
from rlm.repl.guest.wire import decode_value

if TYPE_CHECKING:
    from rlm.core.types import Json


def final(form: Json) -> Final:
    """The value, and its text: itself if it is a str, else JSON, else repr. Raises:
    WireError: not a valid form.
    """
    value = decode_value(form, special={"$text": str})
    return Final(value=value, text=_text_of(value))


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
