"""Judges one value: could it be a secret, is it a placeholder, a reference, a word? Looks at no surroundings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_WORDS: Final = frozenset(Path(__file__).with_name("placeholder_words.txt").read_text(encoding="ascii").split())
"""Of what placeholders, types and sentences are made."""

_WORD = re.compile(r"[a-z]+")
_HOLDER = re.compile(
    r"(?i)(?:x{5}|\*{3}|\.{3}|…|•{3}|#{4}|0{10}|[_-]here\b|\byour[_ -]|\bexample\b|(?<=[0-9a-z])EXAMPLE"
    r"|placeholder|redacted|\[masked|changeme|change[_-]me|insert[_-]|dummy)"
)
_REFERENCE = re.compile(
    r"[fbru]?['\"`]?(?:\$[\w{(]|\$\{|%\(|%[sdr]\b|\{\{|\{%|#\{|<[\w /.-]{1,60}>|\{[\w.!:\[\]'\"]{0,60}\}|!\w+ |<%)"
    r"|(?:process\.env|os\.environ|os\.getenv|ENV\[|env\.|env:|secrets?\.[A-Za-z]|vars?\.|var\.|data\.|local\.|self\."
    r"|this\.|config\.|cfg\.|args\.|settings\.|vault:|ssm:|arn:|op://|ref\+|sm://|file:)"
)
_RUN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)*[!?]?\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_HEX = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+)\Z")
_PLACE = re.compile(
    r"(?:~|\.{1,2})?/[\w.~-]+(?:/[\w.~-]*)*\Z|[A-Za-z]:\\"
    r"|[a-z][a-z0-9+.-]{1,20}://[^@\s]*\Z|\w+/\w+\.\w{2,4}\Z"
)
_FACT = re.compile(r"[\d.,:_T+-]*Z?\Z|v?\d+(?:\.\d+)+[\w.+-]*\Z")

RANDOM_RUNS: Final = 0.28
"""Runs of one kind of character for each character: random text has about 0.45, names and words under 0.25."""
NAME_RUNS: Final = 0.2
"""Words joined by dashes have fewer."""
LEAST_RANDOM: Final = 16
"""Shorter text tells too little to be called random."""


def is_placeholder(value: str) -> bool:
    """Whether `value` stands for a secret and is none: `<password>`, `xxxxx`, `${TOKEN}`, `your-key-here`, `None`."""
    if not value or _REFERENCE.match(value) or _HOLDER.search(value):
        return True
    if not any(char.isalnum() for char in value):
        return True
    words = _WORD.findall(value.lower()) if len(value) < 80 else []
    return bool(words) and all(word in _WORDS for word in words) and not any(map(str.isdigit, value))


def is_name(value: str) -> bool:
    """Whether it reads like a variable or an attribute without digits: `self.token`, `next_token`, `API_KEY`."""
    return _NAME.match(value) is not None and not any(map(str.isdigit, value))


def is_place(value: str) -> bool:
    """Whether it is a path or an address without credentials."""
    return _PLACE.match(value) is not None


def is_fact(value: str) -> bool:
    """Whether it is a number, a date or a version."""
    return _FACT.match(value) is not None


def is_digest(value: str) -> bool:
    """Whether it has the shape of a checksum or an identifier: a UUID, or hex alone."""
    return _UUID.match(value) is not None or _HEX.match(value) is not None


def is_random(value: str) -> bool:
    """Whether it looks drawn by a machine: mixed characters that change their kind often and rarely repeat."""
    if len(value) < LEAST_RANDOM or is_fact(value):
        return False
    head = value[:120]
    return runs(head) >= RANDOM_RUNS and len(set(head)) >= min(10, len(head) // 2)


def is_mixed(value: str) -> bool:
    """A weaker test, for what a name beside it calls a secret: 8 characters or more, with digits among letters."""
    if len(value) < 8:
        return False
    digits = sum(map(str.isdigit, value[:120]))
    return is_random(value) or (
        0 < digits < len(value) and (runs(value[:120]) >= 0.18 or (digits >= 3 and value.isalnum()))
    )


def is_prose(value: str) -> bool:
    """Whether it is a sentence rather than a passphrase."""
    words = _WORD.findall(value.lower())
    return " " in value.strip() and (
        value[:1].isupper() or value.rstrip()[-1:] in ".:!?" or sum(word in _WORDS for word in words) >= 1
    )


def runs(value: str) -> float:
    """Runs of one kind of character, for each character."""
    return len(_RUN.findall(value)) / len(value)
