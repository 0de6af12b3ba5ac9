"""Finds where a model's turn ends in its text: by a mark of the end, and by one that begins the turn of somebody else,
which the model made up."""

from __future__ import annotations

import re

from rlm.core.dialects.families import ENDS, ROLES, either
from rlm.core.dialects.passages import Taken
from rlm.core.dialects.scanning import Text

_END = re.compile(either(ENDS))
_ENDS = re.compile(rf"(?:\s|{either(ENDS)})*")
_STRUCK = re.compile("<s>")
_ROLE = re.compile(either(ROLES))


def turn_end(text: Text, position: int) -> Taken | None:
    """Marks of the end, and what follows them if somebody else is made to speak."""
    mark = _END.match(text.text, position)
    if mark is None or text.is_quoted(*mark.span()) or _closes_element(text, mark):
        return None
    marks = _ENDS.match(text.text, position)
    assert marks is not None
    if marks.end() == len(text) or _ROLE.match(text.text, marks.end()):
        return Taken(end=len(text))
    if _END.search(text.text, mark.end(), marks.end()):  # several say it for sure
        return Taken(end=marks.end())
    return Taken(end=mark.end()) if text.ends_line(mark.end()) and mark[0].startswith(("<|", "<｜", "<end_")) else None


def _closes_element(text: Text, mark: re.Match[str]) -> bool:
    """Whether it is the end of an element of HTML."""
    opening = text.next(_STRUCK, 0) if mark[0] == "</s>" else None
    return opening is not None and opening.start() < mark.start()


def without_end(text: str) -> str:
    """The text without marks of the end, and without what follows them if somebody else is made to speak."""
    source = Text(text)
    mark = source.next_said(_END, 0)
    while mark is not None:
        taken = turn_end(source, mark.start())
        if taken is not None and taken.end == len(text):
            return text[: mark.start()]
        mark = source.next_said(_END, mark.end() if taken is None else taken.end)
    return text
