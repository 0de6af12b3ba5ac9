"""Personal data: mail addresses, phone numbers, payment cards (Luhn), IBANs (mod 97), social security numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import Found

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCAL = re.compile(r"[\w.%+'~-]{1,64}\Z")
_DOMAIN = re.compile(
    r"(?:[\w-]{1,63}+\.){1,8}+[A-Za-z]{2,24}+(?![\w@])|(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?=\.?(?:\W|\Z))"
)
_FILES: Final = frozenset(("png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "py", "json"))
_NUMBER = re.compile(
    r"[0-9]{3}(?:-\d\d-\d{4}|\)? ?[-. ]?[2-9]\d\d[-. ]\d{4}|\d(?:[ -]?\d{4}){2,3}(?:[ -]?\d{1,4})?"
    r"|\d[ -]?\d{6}[ -]?\d{5})"
    r"(?![\w-])"
)
_ABROAD = re.compile(r"\+[1-9](?:[ .\-/()]{0,2}\d){7,14}(?![\w-])")
_CALLED = re.compile(r"(?:phone|tel|fax|mobile)[\w\"'.: ]{0,12}?(?P<it>[(+]?\d(?:[ .\-/()]{0,2}\d){8,14})(?![\w-])")
_LETTERED = re.compile(r"[A-Z][A-Z]\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\Z")
_NORTH_AMERICAN = re.compile(r"(?:1[ .-]?)?\(?[2-9]\d{2}(?:\) ?|[-.])[2-9]\d{2}[-. ]\d{4}\Z")
_IBAN_CHARS: Final = range(15, 35)
_CARD_DIGITS: Final = range(13, 20)


def find_personal(text: str, lower: str) -> Iterator[Found]:
    """Personal data of every kind above; `lower` is `text` in lower case, of the same length."""
    yield from _mails(text)
    yield from _numbers(text, lower)
    for place in _LETTERED.finditer(text):
        if _is_iban(place[0]) and not text[place.start() - 1 : place.start()].isalnum():
            yield Found(place.start(), place.end(), "IBAN")


def _mails(text: str) -> Iterator[Found]:
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text, max(0, at - 64), at)
        domain = _DOMAIN.match(text, at + 1)
        if (
            local
            and domain
            and domain[0].rsplit(".", 1)[1].lower() not in _FILES
            and not _is_remote(text, local[0], domain)
        ):
            yield Found(local.start(), domain.end(), "EMAIL")
        at = text.find("@", at + 1)


def _is_remote(text: str, local: str, domain: re.Match[str]) -> bool:
    """Whether it is `git@host:path` or the `user@host` of an address."""
    return local == "git" or text[domain.end() : domain.end() + 2].rstrip("/~").startswith(":~")


def _numbers(text: str, lower: str) -> Iterator[Found]:
    for place in _NUMBER.finditer(text):
        start = place.start()
        before = text[max(0, start - 1) : start]
        if before.isalnum() or before in ("_", ".", "#", "-"):
            continue
        if family := _number_family(place[0]):
            yield Found(start - (before == "("), place.end(), family)
    for place in _ABROAD.finditer(text):
        if not text[max(0, place.start() - 1) : place.start()].isalnum():
            yield Found(place.start(), place.end(), "PHONE")
    for place in _CALLED.finditer(lower):
        yield Found(place.start("it"), place.end("it"), "PHONE")


def _number_family(number: str) -> str | None:
    digits = "".join(filter(str.isdigit, number))
    if len(digits) in _CARD_DIGITS:
        return "CARD" if _is_card(digits) else None
    if _SSN.match(number):
        return "SSN"
    return "PHONE" if _NORTH_AMERICAN.match(number) else None


def _is_card(digits: str) -> bool:
    if digits[0] not in "3456" or len(set(digits)) < 3:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    if len(compact) not in _IBAN_CHARS:
        return False
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1
