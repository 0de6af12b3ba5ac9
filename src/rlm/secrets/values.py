"""Judges a value by itself: could it be a secret, or is it a placeholder, a reference, a word?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rlm.secrets.prefixes import any_of

_WORDS: Final = frozenset(Path(__file__).with_name("placeholder_words.txt").read_text(encoding="ascii").split())
"""The words that placeholders, types and sentences are made of."""

_WORD = re.compile(r"[a-z]+")
_HOLDER = re.compile(any_of((
    "xxxxx", "***", "...", "…", "•••", "####", "0000000000", "placeholder", "redacted", "[masked", "changeme",
    "change_me", "change-me", "insert_", "insert-", "dummy", "your_", "your-", "your ", "_here", "-here",
)))  # fmt: skip
"""Matches what occurs in placeholders and never in secrets."""
_REFERENCE = re.compile(
    r"[fbru]?['\"`]?(?:\$[\w{(]|\$\{|%\(|%[sdr]\b|\{\{|\{%|#\{|<[\w /.-]{1,60}>|\{[\w.!:\[\]'\"]{0,60}\}"
    r"|![A-Za-z_]+(?: |\Z)|<%|ENC\[)"
    r"|(?:process\.env|os\.environ|os\.getenv|ENV\[|env\.|env:|secrets?\.[A-Za-z]|vars?\.|var\.|data\.|local\.|self\."
    r"|this\.|config\.|cfg\.|args\.|settings\.|vault:|ssm:|arn:|op://|ref\+|sm://|file:)"
)
_ALNUM = re.compile(r"[^\W_]")
_MIXED_WORD = re.compile(r"[A-Za-z]\d|\d[A-Za-z]")
_DIGIT = re.compile(r"\d")
_RUN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)*[!?]?\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_HEX = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)\Z")
_PLACE = re.compile(
    r"(?:~|\.{1,2})?/[\w.~-]+(?:/[\w.~-]*)*\Z|[A-Za-z]:\\"
    r"|[a-z][a-z0-9+.-]{1,20}://[^@\s]*\Z|\w+/\w+\.\w{2,4}\Z"
)
_FACT = re.compile(r"[\d.,:_T+-]*Z?\Z|v?\d+(?:\.\d+)+[\w.+-]*\Z")
_VERSION = re.compile(r"(?:[~^]|[<>]=?|==)? ?v?\d{1,5}(?:\.(?:\d{1,5}|x|\*)){1,3}(?:-[\w.]{1,20})?\Z")
_CACHE_KEY = re.compile(r"[A-Za-z][\w.]*(?:-[\w.]+)*?-[0-9a-f]{12,128}(?:-[\w.]+)*\Z")

RANDOM_RUNS: Final = 0.28
"""The least runs of one kind of character, per character: random text has about 0.45, names and words under 0.25."""
NAME_RUNS: Final = 0.2
"""Words joined by dashes have fewer runs than this, per character."""
HEAD_CHARS: Final = 256
"""How many characters of a value are judged, so that long ones cost no more than short ones."""
LEAST_RANDOM: Final = 16
"""The least characters of random text; a shorter one tells too little."""


def is_placeholder(value: str) -> bool:
    """Whether `value` only stands in for a secret: `<password>`, `xxxxx`, `${TOKEN}`, `your-key-here`, `None`."""
    head = value[:HEAD_CHARS]
    lower = head.lower()
    if _REFERENCE.match(head) or _HOLDER.search(lower) or not _ALNUM.search(head):
        return True
    if len(value) >= 80 or _DIGIT.search(head):
        return False
    words = _WORD.findall(lower)
    return bool(words) and _WORDS.issuperset(words)


def is_name(value: str) -> bool:
    """Whether `value` reads like a variable or an attribute without digits: `self.token`, `next_token`, `API_KEY`."""
    return _NAME.match(value) is not None and _DIGIT.search(value) is None


def is_place(value: str) -> bool:
    """Whether `value` is a path, or an address without credentials."""
    return _PLACE.match(value) is not None


def is_fact(value: str) -> bool:
    """Whether `value` is a number, a date or a version."""
    return _FACT.match(value) is not None


def is_version(value: str) -> bool:
    """Whether `value` is a version of a package, or a range of them: `^1.7.1`."""
    return _VERSION.match(value) is not None


def is_cache_key(value: str) -> bool:
    """Whether `value` is words and a checksum: `Linux-node-0a1b2c3d4e5f...`."""
    return _CACHE_KEY.match(value) is not None


def is_digest(value: str) -> bool:
    """Whether `value` has the shape of a checksum or an identifier: a UUID, or nothing but hex."""
    return _UUID.match(value) is not None or _HEX.match(value) is not None


def is_random(value: str) -> bool:
    """Whether `value` looks like random text: mixed characters that change their kind often and rarely repeat."""
    if len(value) < LEAST_RANDOM or is_fact(value):
        return False
    head = value[:120]
    return runs(head) >= RANDOM_RUNS and len(set(head)) >= min(10, len(head) // 2)


def is_mixed(value: str) -> bool:
    """A weaker test, for a value whose name calls it a secret: 8 characters or more, with digits among letters."""
    if len(value) < 8:
        return False
    digits = sum(map(str.isdigit, value[:120]))
    return is_random(value) or (
        0 < digits < len(value) and (runs(value[:120]) >= 0.18 or (digits >= 3 and value.isalnum()))
    )


def is_prose(value: str) -> bool:
    """Whether `value` is a sentence rather than a passphrase."""
    if _MIXED_WORD.search(value):
        return False
    words = _WORD.findall(value.lower())
    return " " in value.strip() and (
        value[:1].isupper() or value.rstrip()[-1:] in ".:!?" or sum(word in _WORDS for word in words) >= 1
    )


def runs(value: str) -> float:
    """The number of runs of one kind of character, divided by the number of characters."""
    return len(_RUN.findall(value)) / len(value)
