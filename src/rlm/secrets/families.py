"""Finds tokens that their issuers mark with a prefix or a shape of their own, whatever stands around them.

The text is searched for prefixes, and a pattern is tried only after its prefix. A pattern is a bounded run of one class
of characters, so that no text makes it backtrack or read far.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rlm.secrets.prefixes import any_of
from rlm.secrets.spans import SecretSpan
from rlm.secrets.values import NAME_RUNS, is_placeholder, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD: Final = r"[A-Za-z0-9_\-]"


class _Form(NamedTuple):
    """The form of the tokens of an issuer: a row of `token_formats.txt`."""

    family: str
    rest: re.Pattern[str]
    head: re.Pattern[str] | None
    """What stands before the prefix and belongs to the token."""
    is_long: bool
    """Whether 16 letters, digits, dashes or underscores surely follow the prefix."""


def _forms() -> Iterator[tuple[str, _Form]]:
    """The forms by their prefixes, in the order of the file."""
    for line in Path(__file__).with_name("token_formats.txt").read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            family, prefix, rest, *head = line.split()
            before = re.compile(rf"(?:{head[0]})\Z") if head else None
            yield prefix, _Form(family, re.compile(rest), before, is_long="/" not in rest[: rest.find("]")])


_AFTER: Final = dict(_forms())
_JOINTS: Final = "_-.~"
_LONE: Final = [prefix for prefix in _AFTER if prefix[-1] not in _JOINTS]
_FIRST = Counter(prefix[0] for prefix in _LONE)
# A capital is rare, and a pattern that begins with a fixed letter is searched as fast as that letter.
_CAPITALS: Final = [
    re.compile(any_of(prefix for prefix in _LONE if prefix[0] == first))
    for first, count in _FIRST.items()
    if first.isupper() and count > 1
]
# The other prefixes, one by one: small letters are everywhere, and one pattern for all would stop at each.
_SINGLE: Final = [
    *(each for each in _LONE if not each[0].isupper() or _FIRST[each[0]] == 1),
    *(each for each, form in _AFTER.items() if each[-1] in _JOINTS and not form.is_long),
]
# Most prefixes end in a joint (`_`, `-`) with a long word after it, which is rare: the fastest thing to search for.
_JOINT: Final = [
    re.compile(re.escape(joint) + rf"(?=[A-Za-z0-9_\-{'.~' if joint == '~' else ''}]{{16}})") for joint in _JOINTS
]
_JOINED: Final = [prefix for prefix in sorted(_AFTER, key=len, reverse=True) if prefix[-1] in _JOINTS]
_BY_END: Final = {end: [each for each in _JOINED if each[-2:] == end] for end in {each[-2:] for each in _JOINED}}
_DISCORD = re.compile(rf"\.{_WORD}{{6}}\.{_WORD}{{27,45}}+")
_DISCORD_HEAD = re.compile(rf"(?<!{_WORD})[MNO]{_WORD}{{22,27}}\Z")


def find_tokens(text: str) -> Iterator[SecretSpan]:
    """Find the tokens with an issuer's prefix or shape."""
    by_letter = (_matches(text, pattern) for pattern in _CAPITALS)
    by_joint = (_joints(text, pattern) for pattern in _JOINT)
    for hits in (*by_letter, *by_joint, *(_each(text, prefix) for prefix in _SINGLE if prefix in text)):
        done = 0
        for prefix, end in hits:
            if end < done:  # already read: a text of nothing but prefixes would be read again for each
                continue
            form = _AFTER[prefix]
            start = _start(text, form.head, end - len(prefix))
            place = form.rest.match(text, end) if start >= 0 else None
            if place is not None:
                done = place.end()
                if _is_token(text[start:done], prefix):
                    yield SecretSpan(start, done, form.family)
    yield from _discord(text)


def _matches(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """The prefixes and their ends, in order."""
    for hit in pattern.finditer(text):
        yield hit[0], hit.end()


def _each(text: str, prefix: str) -> Iterator[tuple[str, int]]:
    at = text.find(prefix)
    while at >= 0:
        yield prefix, at + len(prefix)
        at = text.find(prefix, at + len(prefix))


def _joints(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    for hit in pattern.finditer(text):
        end = hit.end()
        for prefix in _BY_END.get(text[end - 2 : end], ()):
            if text.startswith(prefix, end - len(prefix)):
                yield prefix, end
                break


def _start(text: str, head: re.Pattern[str] | None, start: int) -> int:
    """The start of the token whose prefix begins at `start`; -1 if it is in the middle of a word, or lacks its head."""
    if head is not None:
        return _head(head, text, start)
    return -1 if _continues(text, start) else start


def _is_token(value: str, prefix: str) -> bool:
    """Whether `value` is a token, not a placeholder or a name with dashes that happens to begin like a key."""
    named = prefix == "sk-" and runs(value[:120]) < NAME_RUNS
    return not named and not is_placeholder(value)


def _discord(text: str) -> Iterator[SecretSpan]:
    for hit in _DISCORD.finditer(text):
        start = _head(_DISCORD_HEAD, text, hit.start())
        if start >= 0:
            yield SecretSpan(start, hit.end(), "DISCORD_TOKEN")


def _head(pattern: re.Pattern[str], text: str, end: int) -> int:
    """The start of the part that ends at `end`; -1 if it isn't there."""
    place = pattern.search(text, max(0, end - 30), end)
    return -1 if place is None else place.start()


def _continues(text: str, start: int) -> bool:
    """Whether `start` is in the middle of a word; the n of an escaped newline doesn't count as one."""
    before = text[start - 1 : start]
    if not (before.isalnum() or before == "_"):
        return False
    return not (before in "nrt" and text[start - 2 : start - 1] == "\\")
