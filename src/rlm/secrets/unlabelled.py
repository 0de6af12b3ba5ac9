"""Finds random-looking text without a name of its own, after words that speak of a secret: `secret (base64) ...`.

Each mention stands for the first such text after it, up to the next mention: on its own line, or on the next if its
line soon ends.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from rlm.secrets.names import names_one
from rlm.secrets.spans import LABEL_START, SecretSpan
from rlm.secrets.values import is_digest, is_placeholder, is_random, runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.secrets.assigned import Mention

REACH: Final = 120
"""How many characters after its mention a secret may stand."""
NEAR: Final = 48
"""The same for text that is nothing but hex, as checksums are."""

MENTION = re.compile(
    r"(?:secret|token|passw|passphrase|credential|bearer|(?:(?<=api.)|(?<=api)|(?<=access.)|(?<=signing.)|(?<=private.))key"
    r"|webhook)(?:s|ord|wd|phrase)?(?![\w\"'\[(.=]|-\w)"
)
_ACCESS_KEY = re.compile(r"AKIA[A-Z2-7]{16}(?![\w\"'])")
_CANDIDATE = re.compile(r"[A-Za-z0-9+/_=~.!#%*^-]{12,512}+")
_TELLING = re.compile(
    r"sha-?\d|md5|digest|checksum|commit|fingerprint|\brev\b|integrity"
    r"|enc\[|uuid|request|public|data:|://|\bhash|\bh1:|\bfile|line "
)
_FAMILIES: Final = {
    "tok": "TOKEN",
    "bea": "TOKEN",
    "pas": "PASSWORD",
    "api": "API_KEY",
    "key": "API_KEY",
    "AKI": "AWS_SECRET_KEY",
}


class _Said(NamedTuple):
    """A mention that nothing is assigned to."""

    end: int
    family: str


def find_unlabelled(text: str, lower: str, places: Iterable[Mention]) -> Iterator[SecretSpan]:
    """Find random-looking text near a mention of a secret; `lower` is `text` in lower case, `places` its mentions."""
    said = [*_said(lower, places), *(_Said(hit.end(), "AWS_SECRET_KEY") for hit in _ACCESS_KEY.finditer(text))]
    said.sort()
    for mention, following in pairwise((*said, _Said(len(text), ""))):
        place = _after(text, lower, mention.end, following.end)
        if place is not None:
            yield SecretSpan(*place, mention.family)


def _said(lower: str, places: Iterable[Mention]) -> Iterator[_Said]:
    for start, end in places:
        hit = MENTION.search(lower, start, end + 2)
        if hit is not None:
            yield _Said(hit.end(), _FAMILIES.get(hit[0][:3], "SECRET"))


def _after(text: str, lower: str, start: int, stop: int) -> tuple[int, int] | None:
    """The start and end of the text that the mention ending at `start` speaks of, before `stop`."""
    line = text.find("\n", start, min(stop, start + REACH))
    end = min(stop, start + REACH) if line < 0 else line
    place = _first(text, lower, start, end)
    if place is None and 0 <= line - start < NEAR and LABEL_START not in text[start:line]:
        return _next_line(text, start, line)
    return place


def _next_line(text: str, start: int, line: int) -> tuple[int, int] | None:
    """Text alone on the line after the mention's; a digest counts only if the mention's line leads up to it, and not as
    the first of a list of digests."""
    end = text.find("\n", line + 1, line + 1 + 4 * REACH)
    after = text[line + 1 : end if end >= 0 else line + 1 + 4 * REACH]
    value = after.strip(" \t\r>#|*`")
    leads = text[start:line].rstrip()[-1:] in ("", ":")
    if not _CANDIDATE.fullmatch(value) or not _is_secret(value, 0 if leads else NEAR):
        return None
    if is_digest(value) and end >= 0 and is_digest(text[end + 1 : end + 1 + len(value)]):
        return None
    at = line + 1 + after.index(value)
    return at, at + len(value)


def _first(text: str, lower: str, start: int, end: int) -> tuple[int, int] | None:
    """The first random-looking text in the rest of the mention's line."""
    for place in _CANDIDATE.finditer(text, start, end):
        if text[place.end() : place.end() + 1] in ("(", "["):
            continue
        if _is_secret(place[0].rstrip(".!"), place.start() - start):
            if LABEL_START in text[start : place.start()] or _TELLING.search(lower, start, place.start()):
                return None
            whole = _CANDIDATE.match(text, place.start())
            assert whole is not None
            return place.start(), place.start() + len(whole[0].rstrip(".!"))
    return None


def _is_secret(value: str, distance: int) -> bool:
    if is_placeholder(value) or names_one(value) or "/" in value[:2]:
        return False
    if is_digest(value):
        return distance < NEAR and len(value) >= 24 and any(map(str.isalpha, value))
    if not any(map(str.isdigit, value)):
        return len(value) >= 20 and is_random(value) and runs(value) > 0.35
    return is_random(value) or (distance < NEAR and len(value) >= 12 and "!" in value and "=" not in value)
