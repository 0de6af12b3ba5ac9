"""Finds secrets in what people write to each other: `the password is ...`, in some languages; logins, codes, seeds.

Each form is looked for where a word or letters that it always has stand, within a line. A password in a sentence has a
digit or a sign: else it is a word like any other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import SecretSpan
from rlm.secrets.values import is_fact, is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.secrets.assigned import Mention

_MARKS: Final = r"[\"'`*]{0,3}"
_ODD: Final = r"(?P<it>(?=[^\s\"'`]{0,60}[\d!@#$%^&*?+=])[^\s\"'`<>]{6,128}+)"
"""A text of six characters or more with a digit or a sign."""
_STURDY: Final = r"(?P<it>(?=\S{0,60}\d)(?=\S{0,60}[!@#$%^&*?+=])[^\s\"'`<>]{8,128}+)"
"""A text of eight characters or more with a digit and a sign."""
_ABOUT: Final = r"(?!(?:base|sha|md|utf|aes|bcrypt|argon)-?\d|\d+[ -](?:char|day|digit|hour|letter|minute|symbol|time))"
"""What is said of passwords, and is none."""

_WORDS: Final = frozenset((
    "password", "passwd", "passwort", "passphrase", "passcode", "pw", "pwd", "kennwort", "contrase?a",
))  # fmt: skip
"""Words for a password, in lower case and in ASCII."""
_IS = re.compile(
    rf"{_MARKS} (?:is|was|ist|war|lautet|es|est"
    r"|(?:(?:has|have) been |was |is |been )?(?:re)?(?:set|changed|updated) to)"
    rf"(?: now)?:? {{1,4}}{_MARKS}{_ABOUT}{_ODD}"
)
_USED = re.compile(rf"(?i:with|use|using|try|enter) {_MARKS}{_ODD}{_MARKS} as (?:the |your |my |its )?\Z")
"""What stands before the word for a password where it follows the password."""
_CREDENTIALS: Final = frozenset(("creds", "credentials"))
_LOGIN = re.compile(rf"[^/\n]{{0,40}} / {_STURDY}")
_CODE: Final = r"(?=[a-z]{0,9}\d)[a-z0-9]{5,10}(?:-[a-z0-9]{4,10}){0,7}"
_CODES = re.compile(rf"s?(?::| is)? {{1,4}}(?P<it>{_CODE}(?:[ ,]{{1,2}}{_CODE}){{0,20}})")
_OF_CODES: Final = ("recovery code", "backup code")
_SEED = re.compile(
    r"(?:seed(?: phrase)?|mnemonic)[\"']?(?: ?[:=]| is) ?[\"']?"
    r"(?P<it>(?:[a-z]{3,8} ){11}(?:[a-z]{3,8} ){0,12}[a-z]{3,8})"
)
_REACH: Final = 160
"""How many characters before a word its secret may begin."""

_ELSEWHERE = re.compile(r"[Пп]арол[ья]|密[码碼]|口令|パスワード|비밀번호|[Κκ]ωδικός|סיסמה|كلمة المرور")
"""Words for a password in other scripts, which all other detectors take for question marks."""
_OTHER_SCRIPT = re.compile(r"\?\?[? ]*")
_IS_ELSEWHERE = re.compile(rf"{_MARKS}[ \t]?(?:[:：=]|是|は|—|-)[ \t]{{0,4}}{_MARKS}{_ODD}")


def find_said(text: str, lower: str, places: Iterable[Mention]) -> Iterator[SecretSpan]:
    """Find the secrets in sentences; `lower` is `text` in lower case and in ASCII, `places` its mentions of secrets."""
    for place, family in (*_passwords(text, lower, places), *_others(text, lower)):
        if not is_placeholder(place["it"]) and not is_fact(place["it"]):
            yield SecretSpan(*place.span("it"), family)


def _passwords(text: str, lower: str, places: Iterable[Mention]) -> Iterator[tuple[re.Match[str], str]]:
    for start, end in places:
        word = lower[start:end]
        if word in _CREDENTIALS and (after := _LOGIN.match(text, end)):
            yield after, "PASSWORD"
        if word not in _WORDS:
            continue
        if text.startswith((" ", "'", '"', "`", "*"), end) and (after := _IS.match(text, end)):
            yield after, "PASSWORD"
        elif " as " in text[max(0, start - 9) : start] and (
            before := _USED.search(text, max(0, start - _REACH), start)
        ):
            yield before, "PASSWORD"
    for run in () if text.isascii() else _OTHER_SCRIPT.finditer(lower):
        said = _ELSEWHERE.search(text, run.start(), run.end())
        if said is not None and (after := _IS_ELSEWHERE.match(text, said.end())):
            yield after, "PASSWORD"


def _others(text: str, lower: str) -> Iterator[tuple[re.Match[str], str]]:
    """What isn't called a password: codes, the words of a seed."""
    for word in _OF_CODES:
        for at in _found(lower, word):
            if after := _CODES.match(text, at + len(word)):
                yield after, "SECRET"
    for word in ("seed", "mnemonic"):
        for at in _found(lower, word):
            if after := _SEED.match(lower, at):
                yield after, "SECRET"


def _found(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + len(word))
