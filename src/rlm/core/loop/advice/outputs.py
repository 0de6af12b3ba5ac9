"""What was cut out of a cell's output that the task asks about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.core.loop.advice.wording import words

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context
    from rlm.core.types import ExecResult

_LEAST_CHARS = 4
_BEGINNING_CHARS = 60
_MARKS = re.compile(r"\\[nrt]|\W+")
"""What printing in one form or another puts between words."""
_WORDS = 100
"""So many words of a task are looked for."""


def is_cut(result: ExecResult, limit_chars: int) -> bool:
    """Whether the model sees only a part of what a cell printed."""
    return result.output_chars > 2 * limit_chars or len(result.output) > limit_chars + 200


def hidden_words(result: ExecResult, limit_chars: int, task: str) -> list[str]:
    """The words of the task that stand in the part that was cut out, and not in what is shown; at most three."""
    head = limit_chars * 3 // 5
    text = result.output.casefold()
    shown, cut = text[:head] + text[head - limit_chars :], text[head : head - limit_chars]
    asked = dict.fromkeys(word for word in words(task) if len(word) >= _LEAST_CHARS)
    wanted = [word for word in list(asked)[:_WORDS] if word not in shown and word in cut]
    return [word for word in wanted if re.search(rf"\b{re.escape(word)}", cut)][:3]


def is_data(output: str, context: Context) -> bool:
    """Whether an output begins as the data does, in whatever form it was printed."""
    begins = _MARKS.sub("", context.preview[: 4 * _BEGINNING_CHARS])[:_BEGINNING_CHARS]
    return len(begins) == _BEGINNING_CHARS and begins in _MARKS.sub("", output[: 8 * _BEGINNING_CHARS])
