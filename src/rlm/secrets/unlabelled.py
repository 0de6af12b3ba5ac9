"""Random-looking text that nothing names, where words before it speak of a secret: `secret (base64) ...`.

Each mention answers for the first such text after it, in its line or, where that soon ends, in the next.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final

from rlm.secrets.names import names_one
from rlm.secrets.spans import LABEL_START, Found
from rlm.secrets.values import is_digest, is_placeholder, is_random, runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REACH: Final = 120
"""How far after its mention a secret may stand."""
NEAR: Final = 48
"""How far it may stand where it is hex alone, as checksums are."""

MENTION = re.compile(
    r"(?:secret|token|passw|passphrase|credential|bearer|(?:(?<=api.)|(?<=api)|(?<=access.)|(?<=signing.)|(?<=private.))key"
    r"|webhook)(?:s|ord|wd|phrase)?(?![\w\"'\[(.=]|-\w)"
)
_ACCESS_KEY = re.compile(r"AKIA[A-Z2-7]{16}(?![\w\"'])")
_CANDIDATE = re.compile(r"[A-Za-z0-9+/_=~.!#%*^-]{12,512}+")
_TELLING = re.compile(
    r"(?i)sha-?\d|md5|digest|checksum|commit|fingerprint|\brev\b|integrity"
    r"|uuid|request|public|data:|://|\bhash|\bh1:|\bfile|line "
)
_FAMILIES: Final = {
    "tok": "TOKEN",
    "bea": "TOKEN",
    "pas": "PASSWORD",
    "api": "API_KEY",
    "key": "API_KEY",
    "AKI": "AWS_SECRET_KEY",
}


def find_unlabelled(text: str, lower: str, places: Iterable[int]) -> Iterator[Found]:
    """Random-looking text near a mention of a secret; `lower` is `text` in lower case, `places` its mentions."""
    said = (MENTION.match(lower, at) for at in places)
    for mention in chain(filter(None, said), _ACCESS_KEY.finditer(text)):
        line = text.find("\n", mention.end(), mention.end() + REACH)
        end = min(len(text), mention.end() + REACH) if line < 0 else line
        place = _first(text, mention.end(), end)
        if place is None and 0 <= line - mention.end() < NEAR and LABEL_START not in text[mention.end() : line]:
            place = _next_line(text, mention.end(), line)
        if place is not None:
            yield Found(*place, _FAMILIES.get(mention[0][:3], "SECRET"))


def _next_line(text: str, start: int, line: int) -> tuple[int, int] | None:
    """What stands alone in the line after the mention's; a digest only where the mention's line leads up to it."""
    end = text.find("\n", line + 1, line + 1 + 4 * REACH)
    after = text[line + 1 : end if end >= 0 else line + 1 + 4 * REACH]
    value = after.strip(" \t\r>#|*`")
    leads = text[start:line].rstrip()[-1:] in ("", ":")
    if not _CANDIDATE.fullmatch(value) or not _is_secret(value, 0 if leads else NEAR):
        return None
    at = line + 1 + after.index(value)
    return at, at + len(value)


def _first(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The first random-looking text in the rest of the mention's line."""
    for place in _CANDIDATE.finditer(text, start, end):
        between = text[start : place.start()]
        if LABEL_START in between or _TELLING.search(between):
            return None
        called = text[place.end() : place.end() + 1] in ("(", "[")
        if not called and _is_secret(place[0].rstrip(".!"), place.start() - start):
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
    return is_random(value) or (distance < NEAR and len(value) >= 12 and "!" in value)
