"""Finds private keys as blocks of text: PEM in all its kinds, escaped or quoted or cut off, OpenSSH, PGP, PuTTY."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import SecretSpan

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_CHARS: Final = 32_768
"""The longest block, in characters; a key of 16,384 bits takes 13 thousand."""

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_MARK = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]{1,60}-----(?:\\{1,2}n)?")
_NEWLINE: Final = r"(?:(?:\\{1,2}r)?\\{1,2}n|\r?\n| )"
_BODY = re.compile(
    rf"(?:{_NEWLINE}[ \t>|\"'+,-]{{0,16}}+"
    r"(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): [^\n\\]{0,200}+|[A-Za-z0-9+/=]{16,}+|(?=[\r\n\\])))*"
)
_PUTTY = re.compile(r"Private-Lines: {0,4}\d{1,4}\r?\n(?P<body>(?:[A-Za-z0-9+/=]{1,100}(?:\r?\n|$)){1,400})")
_PUTTY_MAC = re.compile(r"Private-MAC: {0,4}(?P<body>[0-9a-f]{40,64}+)")
_LEAST: Final = 24
"""The least characters of a body; a shorter one only mentions a key."""


def find_blocks(text: str) -> Iterator[SecretSpan]:
    """Find whole blocks, with their first and last lines if they have them."""
    if "-----BEGIN " in text:
        yield from _pem(text)
    if "Private-" in text:
        for pattern in (_PUTTY, _PUTTY_MAC):
            for place in pattern.finditer(text):
                yield SecretSpan(place.start("body"), place.end("body"), "PRIVATE_KEY")


def open_block(text: str, start: int, end: int) -> int:
    """The start of a block that is still open at the end of `text[start:end]`, which is whole lines; -1 if none is."""
    pem, putty = text.rfind("-----BEGIN ", start, end), text.rfind("Private-Lines:", start, end)
    if pem >= 0 and _BEGIN.match(text, pem, end) and text.find("-----END ", pem, end) < 0 and end - pem <= BLOCK_CHARS:
        return pem
    if putty >= 0 and text.find("Private-MAC:", putty, end) < 0 and end - putty <= BLOCK_CHARS:
        return putty
    return -1


def _pem(text: str) -> Iterator[SecretSpan]:
    for begin in _BEGIN.finditer(text):
        # The search ends at the next mark, so that many beginnings without an end cost one pass.
        mark = _MARK.search(text, begin.end(), begin.end() + BLOCK_CHARS)
        if mark is not None and mark[0].startswith("-----END"):
            end = mark.end()
        else:
            stop = begin.end() + BLOCK_CHARS if mark is None else mark.start()
            body = _BODY.match(text, begin.end(), stop)
            end = body.end() if body is not None else begin.end()
        # A mark that begins another key may be gone when masked text is masked again: it decides nothing.
        is_last = mark is None or _BEGIN.match(text, mark.start()) is not None
        if end - begin.end() > _LEAST + 40 or (is_last and end - begin.end() >= _LEAST):
            yield SecretSpan(begin.start(), end, "PRIVATE_KEY")
