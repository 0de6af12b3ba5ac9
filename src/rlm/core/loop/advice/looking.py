"""A line of Python that looks into the data for what a task asks: small models copy code more readily than advice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.contexts.context import Kind

_WORD = re.compile(r"[^\W\d_]{4,40}")
_LINES = {
    "text": "print([line for line in context.splitlines() if {word!r} in line][:5])",
    "files": "print([path for path, text in context.items() if {word!r} in text][:5])",
}
_ANY = "print(type(context), str(context)[:500])"


def look(kind: Kind, task: str) -> str:
    """A cell for a first look: for the longest word of the task where the data is text, else at its beginning."""
    word = max(_WORD.findall(task), key=len, default="")
    return _LINES.get(kind, _ANY).format(word=word) if word else _ANY
