"""Finds what was thought, not said: between the tags of any family, before a closing tag that nothing opened, and in
results that the model made up.

The rules:
- An opening tag counts at the beginning of a line; within one it counts where it follows a sentence, or ends the line,
  and is closed; or where it is closed in a later line. It goes up to its own closing tag, else up to any, else to the
  end. Tags in backticks or in quotation marks are spoken of, and count nowhere.
- A thought in a thought that begins so as well is closed first.
- A closing tag that nothing opened counts at the beginning of a line, and where it follows a sentence or is glued to a
  word. At the end of a line it counts if a blank line or something to run follows.
"""

from __future__ import annotations

import re

from rlm.core.dialects.families import PRINTED, THOUGHTS, either
from rlm.core.dialects.passages import Taken
from rlm.core.dialects.scanning import Text, compiled

OPENING = re.compile(either(list(THOUGHTS)), re.IGNORECASE)
CLOSING = re.compile(either(list(THOUGHTS.values())), re.IGNORECASE)
_PRINTED = re.compile(either([opening for opening, _ in PRINTED]), re.IGNORECASE)
_OWN = {opening.lower(): f"(?i:{either([closing])})" for opening, closing in (*THOUGHTS.items(), *PRINTED)}
_LEADING = re.compile(r"\s*")
_AFTER_END = re.compile(r"[ \t\r]*\n(?:[ \t\r]*\n|[ \t]*(?:```|~~~|<|\[|FINAL))")


def thought(text: Text, position: int) -> Taken | None:
    """The thought that opens here."""
    opening = OPENING.match(text.text, position)
    if opening is None or text.is_quoted(*opening.span()):
        return None
    closing = _closing(text, opening)
    if not _opens(text, opening, closing):
        return None
    return Taken(end=len(text) if closing is None else _end(text, opening.end(), closing))


def unopened(text: Text, position: int) -> Taken | None:
    """The closing tag here, which nothing opened."""
    closing = CLOSING.match(text.text, position)
    if closing is None or text.is_quoted(*closing.span()) or not _closes(text, closing):
        return None
    return Taken(end=closing.end(), unopened=True)


def printed(text: Text, position: int) -> Taken | None:
    """A result that the model made up."""
    opening = _PRINTED.match(text.text, position)
    if opening is None or text.is_quoted(*opening.span()) or not text.begins_line(position):
        return None
    closing = text.next(_own_closing(opening), opening.end())
    return None if closing is None else Taken(end=closing.end())


def without_thoughts(text: str) -> str:
    """The text without the thoughts that it begins with, closed or opened; as it is, where it doesn't begin so."""
    source, start, parts = Text(text), 0, list[str]()
    while (found := _thought_end(source, start)) is not None:
        parts.append(text[start : found[0]])
        start = source.base = found[1]
    parts.append(text[start:])
    return next((part for part in reversed(parts) if part.strip()), "")


def _thought_end(text: Text, position: int) -> tuple[int, int] | None:
    """Where what stands at the position ends as a thought, and where reading goes on."""
    lead = _LEADING.match(text.text, position)
    start = position if lead is None else lead.end()
    if (taken := thought(text, start)) is not None:
        return position, taken.end
    mark, opened = text.next_said(CLOSING, position), text.next(OPENING, position)
    while mark is not None and (opened is None or opened.start() > mark.start()):
        if _closes(text, mark):
            return mark.start(), mark.end()
        mark = text.next_said(CLOSING, mark.end())
    return None


def _opens(text: Text, opening: re.Match[str], closing: re.Match[str] | None) -> bool:
    if text.begins_line(opening.start()):
        return True
    if text.follows_sentence(opening.start()):
        return closing is not None or text.ends_line(opening.end())
    if closing is None:
        return False
    return text.ends_line(opening.end()) or (
        text.text.find("\n", opening.end(), closing.start()) >= 0 and _closes(text, closing)
    )


def _closing(text: Text, opening: re.Match[str]) -> re.Match[str] | None:
    """Its own closing tag, else the first of any family."""
    own = text.next_said(_own_closing(opening), opening.end())
    return own if own is not None else text.next_said(CLOSING, opening.end())


def _own_closing(opening: re.Match[str]) -> re.Pattern[str]:
    mark = opening[0].lower().replace("｜", "|").replace("▁", "_")
    return compiled(_OWN[mark])


def _end(text: Text, start: int, closing: re.Match[str]) -> int:
    """The end of a thought, the thoughts in it included."""
    openings = OPENING.finditer(text.text, start, closing.start())
    inner = sum(found.start() == start or _begins(text, found) for found in openings)
    for _ in range(inner):
        following = text.next_said(CLOSING, closing.end())
        if following is None or OPENING.search(text.text, closing.end(), following.start()):
            break
        closing = following
    return closing.end()


def _begins(text: Text, opening: re.Match[str]) -> bool:
    start = opening.start()
    return not text.is_quoted(*opening.span()) and (text.begins_line(start) or text.follows_sentence(start))


def _closes(text: Text, closing: re.Match[str]) -> bool:
    if text.begins_line(closing.start()) or text.follows_sentence(closing.start()):
        return True
    return text.ends_line(closing.end()) and _AFTER_END.match(text.text, closing.end()) is not None
