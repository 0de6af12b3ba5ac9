"""What a model's prose says: that it is done, with which answer; or only what it is about to do. In linear time.

The rules: `FINAL(...)` and `FINAL_VAR(name)` count at the beginning of a line, marks of emphasis and quotation aside;
so does `Final answer: ...`, which goes up to the end. A placeholder, as in the instructions, is no answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.core.dialects import codelike
from rlm.core.dialects.passages import Taken

if TYPE_CHECKING:
    from rlm.core.dialects.scanning import Text

_LEAD = r"^[ \t>*_#`-]*"
_FINAL = re.compile(_LEAD + r"FINAL[(（]", re.MULTILINE)
_FINAL_VAR = re.compile(_LEAD + r"""FINAL_VAR\([ \t]*["']?(\w+)["']?[ \t]*\)[ \t.*_`]*$""", re.MULTILINE)
_FINAL_ANSWER = re.compile(
    rf"{_LEAD}(?:final[ \t]+answer[ \t*_]*(?::|：|$)|(?-i:FINAL)[ \t*_]*[:：])", re.MULTILINE | re.IGNORECASE
)
_PARENTHESIS = re.compile(r"[()（）]")
_PLACEHOLDERS = frozenset({"", "...", "…", "your answer", "your answer here", "your final answer", "the answer"})
_EMPHASIS = "*_` \t\n"
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")
_INTENTIONS = (
    *("let me ", "let's ", "let us ", "i'll ", "i will ", "i am going to ", "i'm going to ", "i need to "),
    *("i should ", "i can start ", "we need to ", "we should "),
)
_BEFORE = re.compile(r"(?:first|now|next|then|so|ok|okay|sure|great|well|to start|to begin)\b[,.!]?\s*", re.IGNORECASE)
_REMARK = re.compile(
    r"(?:(?:all )?(?:done|finished|completed?|ready)|ok(?:ay)?|that['’]s (?:it|all)|(?:the )?end)[.! ]*", re.IGNORECASE
)
_CURLY = ("“”", "‘’")
_TAGS = ("final_answer", "answer")
_BOXED = "\\boxed{"
_BRACE = re.compile(r"[{}]")
_CLOSERS = ("let me know", "i will be ", "i'll be ")


def final_variable(prose: str) -> str | None:
    """The name in a line `FINAL_VAR(name)`."""
    found = _FINAL_VAR.search(prose)
    return found[1] if found else None


def final_text(prose: str, *, cut: bool = False) -> str | None:
    """The answer in the first `FINAL(...)` that is no placeholder, else after the last `Final answer:`; of a text that
    was `cut` off, only an answer that ends before it does."""
    for opening in _FINAL.finditer(prose):
        answer, closed = _inside(prose, opening.end())
        if answer.strip("<>[]").lower() not in _PLACEHOLDERS:
            return _unquoted(answer) if closed or not cut else None
    if cut:
        return None
    *_, marked = [None, *_FINAL_ANSWER.finditer(prose)]
    answer = "" if marked is None else prose[marked.end() :].strip(_EMPHASIS)
    return final_text(answer) if _FINAL.match(answer) else answer or None


def marked_text(prose: str) -> str | None:
    """The answer between `<answer>` and `</answer>`, or in the last `\\boxed{...}`."""
    for tag in _TAGS:
        end = prose.rfind(f"</{tag}>")
        start = prose.rfind(f"<{tag}>", 0, max(end, 0))
        if start >= 0 and (answer := prose[start + len(tag) + 2 : end].strip()):
            return answer
    start, depth = prose.rfind(_BOXED) + len(_BOXED), 1
    if start < len(_BOXED):
        return None
    for brace in _BRACE.finditer(prose, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return prose[start : brace.start()].strip() or None
    return None


def answer_with_fence(text: Text, position: int) -> Taken | None:
    """The FINAL at `position`, if its parenthesis closes after a fence, which then is a part of the answer."""
    opening = None if text.answered else _FINAL.match(text.text, position)
    if opening is None:
        return None
    start, depth, marks = opening.end(), 1, 0
    while start < len(text):
        end = text.line_end(start)
        if text.text[start:end].lstrip().startswith("```"):
            marks += 1
        if marks % 2 == 0:
            depth += sum(1 if mark[0] in "(（" else -1 for mark in _PARENTHESIS.finditer(text.text, start, end))
        if depth <= 0:
            return Taken(end=end, prose=True) if marks else None
        text.answered = True  # whatever comes of it: it is read once
        start = end
    return None


def remarks(text: str) -> bool:
    """Whether it says no more than that the model is done."""
    return _REMARK.fullmatch(text.strip(_EMPHASIS)) is not None


def announces(text: str) -> bool:
    """Whether a reply ends in what the model is about to do, rather than in what it found."""
    text = text.rstrip(_EMPHASIS)
    if text.endswith((":", "...", "…")):
        return True
    last = _SENTENCE.split(text)[-1].lstrip(_EMPHASIS + "->#").replace("’", "'").lower()
    last = _BEFORE.sub("", last, count=1) if _BEFORE.match(last) else last
    return last.startswith(_INTENTIONS) and not last.startswith(_CLOSERS)


def _inside(prose: str, start: int) -> tuple[str, bool]:
    """What stands from `start` to the parenthesis that closes, and whether one does; it may be many lines down.

    A line that ends in a parenthesis is taken up to it, though an earlier one would do: answers hold smileys and lists.
    """
    depth, position = 1, start
    while position < len(prose):
        end, closed_at = prose.find("\n", position) + 1 or len(prose), -1
        for mark in _PARENTHESIS.finditer(prose, position, end):
            depth += 1 if mark[0] in "(（" else -1
            closed_at = mark.start() if depth == 0 and closed_at < 0 else closed_at
        if depth <= 0:
            line = prose[position:end].rstrip(_EMPHASIS + "\r.。")
            end = position + len(line) - 1 if line.endswith((")", "）")) else closed_at
            return prose[start:end].strip(), True
        position = end
    return prose[start:].strip(), False


def _unquoted(text: str) -> str:
    """A Python string literal as its value; anything else as it is."""
    if text[:1] + text[-1:] in _CURLY and text[1:-1].isprintable() and not set(text[1:-1]) & set("“”‘’"):
        return text[1:-1]
    if text[:1] not in ("'", '"'):
        return text
    try:
        value = codelike.literal(text)
    except ValueError:
        quote = text[0]  # models quote several lines as if they were one
        return text[1:-1] if text.endswith(quote) and text.count(quote) == 2 else text
    return value if isinstance(value, str) else text
