"""Reads a task into the few shapes of question that the demo knows. It guesses nothing: a sentence that fits no shape
is left out, and a task without any that fits gets the list of what the demo can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

NEEDLE_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTest:
    """The text or pattern to look for in a line; an empty text is in every line."""

    text: str
    is_regex: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The question how many lines contain a text or match a pattern."""

    needle: LineTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """The question where a text is mentioned."""

    needle: LineTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """The question which values of a field occur most; it names the fields."""

    question: str
    values: int = 10
    """How many values of each field are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summarise:
    """The request for a summary by parts."""

    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """The request for one summary of several, which the demo makes to its own child."""


Ask: TypeAlias = Count | Mentions | Top | Summarise | Merge

MERGE_TASK = "Merge these summaries of parts into one"

# A sentence ends at its mark before a space; one inside quotes does not count.
_QUOTED = r"""\"[^"\n]+\"|“[^”\n]+”|`[^`\n]+`|(?<!\w)'[^'\n]+'(?!\w)"""
_REGEX = r"(?<![\w/.])/(?:\\.|[^/\n\\])+/(?![\w/.-])"
_SENTENCE = re.compile(rf"(?:{_QUOTED}|{_REGEX}|[^?.!\n]|[?.!](?!\s|$))+")
_LITERAL = re.compile(rf"{_QUOTED}|{_REGEX}")

_SUMMARY = re.compile(
    r"\b(?:summar\w*|overview|gist|outline|tl;?dr|main (?:points|topics|themes)|by parts|cluster\w*)\b"
)
_COUNT = re.compile(r"\b(?:how many|how often|count|number of)\b")
_TOP = re.compile(r"\b(?:most|top|common\w*|frequen\w*|dominat\w*|busiest|popular)\b")
_TOP_VALUES = re.compile(r"\btop (\d{1,3})\b")
_MENTIONS = re.compile(
    r"\bwhere\b|\b(?:find|locate|show|list|grep|search)\b|\b(?:which|what) (?:files?|lines?|parts?|documents?|items?)\b"
)
_NEEDLES = (
    re.compile(
        r"\b(?:contain(?:s|ing)?|match(?:es|ing)?|mention(?:s|ing)?|includ(?:e|es|ing)|with|ha(?:ve|s|ving)|for)\s+(.+)",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:does|do|did|is|are|was|were)\s+(.+?)\s+(?:mentioned|occurs?|appears?|discussed|named|found|used|defined)",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?:find|locate|show|list|grep)\s+(.+)", re.IGNORECASE),
)
_ALL_LINES = re.compile(
    r"\b(?:how many|number of|count)\b[^?]*\b(?:lines|rows|records|entries|requests)\b", re.IGNORECASE
)
_LEADING = re.compile(
    r"^(?:(?:the|an?|all|any|me|words?|strings?|texts?|phrase|term|name|pattern|regex|mentions of|occurrences of)\s+)+",
    re.IGNORECASE,
)
_TRAILING = re.compile(r"\s+in (?:the|this|these|that|it|total|all)\b.*$|[\s?.!,;:]+$", re.IGNORECASE)


def read_task(task: str) -> tuple[Ask, ...]:
    """Every question in `task` that the demo knows, in order."""
    if task.startswith(MERGE_TASK):
        return (Merge(),)
    return tuple(ask for sentence in _SENTENCE.findall(task) if (ask := _read_sentence(sentence.strip())) is not None)


def _read_sentence(sentence: str) -> Ask | None:
    words = _LITERAL.sub(" ", sentence).lower()  # what is quoted says nothing of the kind of question
    if _SUMMARY.search(words):
        return Summarise(question=sentence)
    if _COUNT.search(words):
        needle = _needle(sentence) or (LineTest(text="") if _ALL_LINES.search(sentence) else None)
        return Count(needle=needle) if needle else None
    if _TOP.search(words):
        values = _TOP_VALUES.search(words)
        return Top(question=sentence, values=int(values[1]) if values else 10)
    if _MENTIONS.search(words) and (needle := _needle(sentence)):
        return Mentions(needle=needle)
    return None


def _needle(sentence: str) -> LineTest | None:
    literal = _LITERAL.search(sentence)
    if literal is not None:
        text = literal[0][1:-1][:NEEDLE_CHARS]
        return LineTest(text=text, is_regex=literal[0][0] == "/")
    for pattern in _NEEDLES:
        if found := pattern.search(sentence):
            text = _TRAILING.sub("", _TRAILING.sub("", _LEADING.sub("", found[1].strip())))
            return LineTest(text=text[:NEEDLE_CHARS]) if text else None
    return None
