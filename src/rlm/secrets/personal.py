"""Finds personal data: mail addresses, phone numbers, payment cards (Luhn), IBANs (mod 97), social security numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import SecretSpan

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCAL = re.compile(r"[\w.%+'~-]{1,64}\Z")
_MAIL = re.compile(r"@(?<=[\w.%+'~-]@)(?P<domain>[\w-]{1,63}+(?:\.[\w-]{1,63}+){1,8})(?!@|\.[\w-])")
_TOP = re.compile(r"[A-Za-z]{2,24}\Z")
_FILES: Final = frozenset(("png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "py", "json"))
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z_.#-])[0-9]{3}(?:-[0-9]{2}-[0-9]{4}|\)? ?[-. ]?[2-9][0-9]{2}[-. ][0-9]{4}"
    r"|[0-9](?:[ -]?[0-9]{4}){2,3}(?:[ -]?[0-9]{1,4})?|[0-9][ -]?[0-9]{6}[ -]?[0-9]{5})(?![\w-])"
)
_DIALLED = re.compile(r"00(?<![\w.#-]00)(?<![0-9] 00)[1-9][0-9]{0,2}(?:[ /.-][0-9]{2,5}){2,5}(?![\w-])")
_ABROAD = re.compile(r"\+[1-9](?:[ .\-/()]{0,2}[0-9]){7,14}(?: ?(?:ext|x)\.? ?[0-9]{1,6})?(?![\w-])")
_CALLED: Final = ("phone", "tel", "fax", "mobile")
_ACCENTED: Final = ("tél", "Tél")
_CALLED_NUMBER = re.compile(r"[\w\"'.: ]{0,12}?(?P<it>[(+]?[0-9](?:[ .\-/()]{0,2}[0-9]){8,14})(?![\w-])")
_FORM: Final = bytes.maketrans(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ ().-", b"0" * 10 + b"A" * 26 + b" " * 5)
"""Maps digits, capitals and separators to one character each, so that the forms of numbers become literals."""
_FORMS: Final = (
    b"0" * 13, b"0000 0000 0000", b"00000000 0000", b"0000 000000 0000", b"000 00 0000", b"000 000 0000",
    b"000  000 0000",
)  # fmt: skip
_DIGITS = re.compile(b"0+")
_LETTERED = re.compile(r"(?<![0-9A-Za-z])[A-Z][A-Z]\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\Z")
_NORTH_AMERICAN = re.compile(r"(?:1[ .-]?)?\(?[2-9]\d{2}(?:\) ?|[-.])[2-9]\d{2}[-. ]\d{4}\Z")
_VALUES: Final = {ord(char): str(int(char, 36)) for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
"""The value of each letter in the checksum of an IBAN."""
_IBAN_CHARS: Final = range(15, 35)
_CARD_DIGITS: Final = range(13, 20)
_ABROAD_DIGITS: Final = range(11, 18)


def find_personal(text: str, lower: str) -> Iterator[SecretSpan]:
    """Find personal data of every kind above; `lower` is the text's ASCII in lower case, of the same length."""
    form = text.encode("ascii", "replace").translate(_FORM)
    yield from _mails(text)
    yield from _numbers(text, form)
    yield from _phones(text, lower)
    yield from _ibans(text, form)


def _mails(text: str) -> Iterator[SecretSpan]:
    for place in _MAIL.finditer(text):
        at = place.start()
        top = place["domain"].rpartition(".")[2]
        if not _TOP.match(top) or top.lower() in _FILES:
            continue
        local = _LOCAL.search(text, max(0, at - 64), at)
        if local is not None and not _is_remote(text, local[0], place):
            yield SecretSpan(local.start(), place.end(), "EMAIL")


def _is_remote(text: str, local: str, domain: re.Match[str]) -> bool:
    """Whether a match is `git@host:path`, or the `user@host` of an address, and not a mail address."""
    return local == "git" or text[domain.end() : domain.end() + 2].rstrip("/~").startswith(":~")


def _numbers(text: str, form: bytes) -> Iterator[SecretSpan]:
    for shape in _FORMS:
        at = form.find(shape)
        while at >= 0:
            place = _NUMBER.match(text, at)
            family = None if place is None else _number_family(place[0])
            if place is not None and family is not None:
                yield SecretSpan(at - (text[at - 1 : at] == "("), place.end(), family)
            digits = _DIGITS.match(form, at)
            assert digits is not None
            at = form.find(shape, digits.end())


def _phones(text: str, lower: str) -> Iterator[SecretSpan]:
    for place in _DIALLED.finditer(text):
        if sum(map(str.isdigit, place[0])) in _ABROAD_DIGITS:
            yield SecretSpan(place.start(), place.end(), "PHONE")
    for place in _ABROAD.finditer(text):
        if not text[max(0, place.start() - 1) : place.start()].isalnum():
            yield SecretSpan(place.start(), place.end(), "PHONE")
    for searched, words in ((lower, _CALLED), (text, _ACCENTED)):
        for word in words:
            yield from _called(text, searched, word)


def _called(text: str, searched: str, word: str) -> Iterator[SecretSpan]:
    """Find phone numbers after `word`, which is searched in `searched`."""
    at = searched.find(word)
    while at >= 0:
        end = at + len(word)
        if number := _CALLED_NUMBER.match(text, end):
            end = number.end()
            yield SecretSpan(number.start("it"), end, "PHONE")
        at = searched.find(word, end)


def _ibans(text: str, form: bytes) -> Iterator[SecretSpan]:
    at = form.find(b"AA00")
    while at >= 0:
        place = _LETTERED.match(text, at)
        end = at + 4
        if place is not None and _is_iban(place[0]):
            end = place.end()
            yield SecretSpan(at, end, "IBAN")
        at = form.find(b"AA00", end)


def _number_family(number: str) -> str | None:
    digits = "".join(filter(str.isdigit, number))
    if len(digits) in _CARD_DIGITS:
        return "CARD" if _is_card(digits) else None
    if _SSN.match(number):
        return "SSN"
    return "PHONE" if _NORTH_AMERICAN.match(number) else None


def _is_card(digits: str) -> bool:
    if digits[0] not in "3456" or len(set(digits)) == 1:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    if len(compact) not in _IBAN_CHARS:
        return False
    return int((compact[4:] + compact[:4]).translate(_VALUES)) % 97 == 1
