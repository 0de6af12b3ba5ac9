"""A line of Python that looks into the data for what a task asks: small models copy code more readily than advice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context

_WORD = re.compile(r"[^\W\d_]{4,40}")
_LINES = {
    "text": "print([line for line in context.splitlines() if {word!r} in line][:5])",
    "files": "print([path for path, text in context.items() if {word!r} in text][:5])",
    "list": "print([item for item in context if {word!r} in str(item)][:5])",
}
_ANY = "print(type(context), str(context)[:500])"


def look(context: Context, task: str) -> str:
    """A cell for a first look: for the word of the task that is most likely in the data, else at its beginning."""
    words = _WORD.findall(task)
    is_list = context.kind == "value" and context.shape.startswith("a list")
    kind = "list" if is_list else context.kind
    if not words or kind not in _LINES:
        return _ANY
    return _LINES[kind].format(word=max(words, key=lambda word: _likely(word, context)))


def _likely(word: str, context: Context) -> tuple[bool, bool, int]:
    """How likely a word is in the data: it is in the preview, is a name by its capitals, is long."""
    return word in context.preview, word.isupper(), len(word)
