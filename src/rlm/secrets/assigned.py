"""Values that a name calls a secret: assignments in code and shells, JSON, YAML, TOML, XML, flags, headers, queries.

Names are found by a few letters that each of them has; what follows is read once, forward, within one line and bounds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from rlm.secrets.names import STRICT, family_of, names_one
from rlm.secrets.spans import LABEL_START, Found
from rlm.secrets.values import (
    is_digest,
    is_fact,
    is_mixed,
    is_name,
    is_place,
    is_placeholder,
    is_prose,
    is_random,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VALUE_CHARS: Final = 4096
"""A longer value is masked to here, and on by what it looks like."""
_NAME_CHARS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
_NAME_REACH: Final = 40

_STEM = re.compile(r"auth|bearer|cred|jwt|ke(?:y|nnwort)|p(?:ass|wd|sk)|s(?:e(?:cret|ss)|id\b)|token|webhook")
_LOWER_LABEL: Final = LABEL_START.lower()
_TAIL = re.compile(r"[\w.\-]{0,24}+")
_ASSIGN = re.compile(
    r"(?P<close>\\{0,3}[\"'`])?\]?"
    r"(?:[ \t]{0,8}+(?P<sign>=>|:=|===?|!==?|\?=|\+=|=|:(?!:))[ \t]{0,8}+"
    r"|(?P<tag>>)(?=[^<>\n]{1,200}</)"
    r"|(?P<pair>,)[ \t]{0,8}+(?=['\"])"
    r"|[\"']?[ \t]{1,8}+(?P<attr>value)[ \t]{0,4}+=[ \t]{0,4}+(?=['\"])"
    r"|[ \t]{1,8}+(?:string[ \t]{0,4}+=[ \t]{0,4}+)?(?P<gap>(?=\S)))"
)
_COMPARES: Final = ("==", "===", "!=", "!==")
_OPEN = re.compile(r"(?:![a-z]\w{0,20} )?[fFbBrRuU@$]{0,2}(\\{0,3}[\"'`])")
_BARE = re.compile(r"[^\s\"'`,;&<>(){}\[\]|\\]{1,4096}+")
_SHELL = re.compile(r"[^\s\"'`\\]{1,4096}+")
_SCHEME = re.compile(
    r"(?i)[fFbB]?[\"']?(?P<scheme>bearer|basic|token|apikey|api-key|bot|digest|negotiate|aws4-hmac-sha256)[ \t]{1,4}+"
)


class _Value(NamedTuple):
    start: int
    end: int
    quoted: bool
    lone: bool
    """It ends its line, or a parameter of a query or a connection string: no code follows."""


def mentions(lower: str) -> list[int]:
    """Where a text in lower case may speak of a secret."""
    places = [hit.start() for hit in _STEM.finditer(lower)]
    if _LOWER_LABEL not in lower:
        return places
    return [at for at in places if not _in_label(lower, at)]


def find_assigned(text: str, places: Iterable[int]) -> Iterator[Found]:
    """Values with a name that calls them a secret; `places` are the mentions in the text."""
    done = 0
    for at in places:
        if at < done:
            continue
        tail = _TAIL.match(text, at)
        assert tail is not None
        start = _name_start(text, at)
        done = tail.end()
        name = text[start:done].strip(".-")
        family = family_of(name)
        if family is not None:
            found = _assigned(text, start, done, family)
            if found is not None:
                yield found
                done = max(done, found.end)


def accepted(value: str, family: str, *, quoted: bool = True) -> bool:
    """Whether `value`, under a name of that family, is a secret rather than a stand-in for one."""
    if is_placeholder(value) or is_place(value) or value.startswith((LABEL_START, "{")) or names_one(value):
        return False
    if family == "PASSWORD":
        return len(value) >= 3 and not is_prose(value)
    if family == "PASSWORD_HASH":
        return len(value) >= 20
    if " " in value or len(value) < 8:
        return False
    if family in STRICT:
        return is_random(value) and not is_digest(value)
    if family == "SECRET" and value.isdigit():
        return True
    return not is_fact(value) and (is_mixed(value) or is_digest(value) or (quoted and is_random(value)))


def _in_label(lower: str, at: int) -> bool:
    """Whether the place is a word of a label, which speaks of nothing."""
    begin = lower.rfind(_LOWER_LABEL, max(0, at - 50), at)
    return begin >= 0 and "]" not in lower[begin:at]


def _name_start(text: str, at: int) -> int:
    before = text[max(0, at - _NAME_REACH) : at]
    return at - len(before) + len(before.rstrip(_NAME_CHARS))


def _assigned(text: str, start: int, end: int, family: str) -> Found | None:
    sign = _ASSIGN.match(text, end)
    if sign is None:
        return None
    if family == "CREDENTIALS" and (scheme := _SCHEME.match(text, sign.end())):
        return _credentials(text, scheme)
    flag = text.startswith("--", start) or text.startswith("-", start)
    value = _read(text, start, sign)
    if value is None or (sign["sign"] in _COMPARES and not value.quoted):
        return None
    held = text[value.start : value.end]
    if not accepted(held, family, quoted=value.quoted) or (not value.quoted and _is_code_like(held, value.lone)):
        return None
    if sign["gap"] is not None and not (_is_argument(held) if flag else _stands_out(held, quoted=value.quoted)):
        return None
    if text[start:end] == "pass" and not value.quoted and not is_mixed(held):
        return None
    return Found(value.start, value.end, "API_KEY" if family == "KEY" else family)


def _read(text: str, start: int, sign: re.Match[str]) -> _Value | None:
    """The value after the sign."""
    at = sign.end()
    opened = _OPEN.match(text, at)
    if opened is not None:
        return _quoted(text, opened)
    if sign["tag"]:
        end = text.find("<", at)
        return _Value(at, end, quoted=True, lone=True)
    shell = sign["sign"] == "=" and text[at - 1] == "=" and _starts_line(text, start)
    place = (_SHELL if shell else _BARE).match(text, at)
    if place is not None and place[0].endswith(","):  # an argument on a line of its own
        place, shell = _BARE.match(text, at), False
    if place is None:
        return None
    after = text[place.end() : place.end() + 1]
    if after and after in "([{":
        return None
    end = at + len(place[0].rstrip(".:?")) if not shell and after in " \n" else place.end()
    lone = after in "\n\r&;<" or (shell and after in " \t")
    return _Value(at, end, quoted=False, lone=lone)


def _quoted(text: str, opened: re.Match[str]) -> _Value | None:
    """The value in quotes, to the same quote on the same line; without one, to the line's end."""
    quote, at = opened[1], opened.end()
    line = text.find("\n", at, at + VALUE_CHARS)
    stop = line if line >= 0 else min(len(text), at + VALUE_CHARS)
    end = text.find(quote, at, stop)
    while end > at and len(quote) == 1 and text[end - 1] == "\\" and text[end - 2] != "\\":
        end = text.find(quote, end + 1, stop)
    return _Value(at, end if end >= 0 else stop, quoted=True, lone=True)


def _credentials(text: str, scheme: re.Match[str]) -> Found | None:
    """What follows a scheme in an Authorization header."""
    at = scheme.end()
    whole = scheme["scheme"].lower() in ("digest", "aws4-hmac-sha256")
    place = re.compile(r"[^\n\\]{8,2048}+" if whole else r"[^\s\"'`,;\\]{8,4096}+").match(text, at)
    if place is None or is_placeholder(place[0]) or is_name(place[0]) or place[0].startswith("{"):
        return None
    return Found(at, place.end(), "CREDENTIALS" if whole or scheme["scheme"].lower() == "basic" else "TOKEN")


def _starts_line(text: str, start: int) -> bool:
    """Whether only blanks, a mark of a diff or words of a shell stand before it in its line."""
    line = text.rfind("\n", max(0, start - 80), start) + 1 or max(0, start - 80)
    return text[line:start].strip(" \t+-").lower() in ("", "export", "set", "env", "arg", "declare -x", "$env:")


def _is_code_like(value: str, lone: bool) -> bool:
    """Whether an unquoted value is a variable: code goes on after it, or it is an attribute."""
    return is_name(value) and not is_random(value) and (not lone or "." in value)


def _is_argument(value: str) -> bool:
    """Whether what follows a flag is its argument rather than the word for it in a usage text."""
    return not (value.isupper() and value.isalpha())


def _stands_out(value: str, *, quoted: bool) -> bool:
    """Whether it is a secret even where no sign joins it to the name."""
    return is_random(value) or is_digest(value) or (quoted and is_mixed(value))
