"""Tells text from binary data, finds a text's encoding, and turns it into UTF-8 in flat memory.

Newlines stay as they are. Bytes that can't be decoded become U+FFFD and are counted; they are never fatal.
"""

from __future__ import annotations

import codecs
import encodings.aliases
import os
import re
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK_BYTES = 4 << 20
HEAD_BYTES = 8192
_SAMPLE_BYTES = 32 << 10
_CONTROL_SHARE = 0.05
_WESTERN = "cp1252"
_JAPANESE = "cp932"
_KANA = re.compile("[\u3041-\u30fe]")
_HALF_KANA = re.compile("[\uff61-\uff9f]")
_KANA_SHARE = 0.1
"""The share of kana among what isn't ASCII from which on a text is Japanese."""
_NEVER = ("utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7")
"""What text without a mark and without NULs isn't."""
_SHIFT_JIS = ("shift_jis", "shift_jis_2004", "shift_jisx0213")
_MEANT = {**dict.fromkeys(_SHIFT_JIS, _JAPANESE), "euc_jis_2004": "euc_jp"}
"""What a guess means in practice, where that decodes the text."""
_COMMON = ("cp932", "cp1251", "koi8_r", "gb18030", "big5", "euc_jp", "cp949")
"""The likelier ones of encodings that fit equally well, the likeliest first."""
_CLOSE_CHAOS = 0.1

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = (("utf-32-le", 4, 0), ("utf-32-be", 4, 3), ("utf-16-le", 2, 0), ("utf-16-be", 2, 1))
"""Encodings whose text in western letters is full of NULs: their width in bytes, and which byte is the letter."""
_WIDE_SAMPLE_BYTES = 4096
_WIDE_LEAST_BYTES = 8
_WIDE_NULS = 0.7
"""The share of the other bytes that must be NUL."""
_A_PDF = "a PDF: extract its text first (pdftotext)"
_FORMATS = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old office document (.doc, .xls, .ppt), or an encrypted one: save it anew, without a password",
    ),
    (b"\x1f\x8b", "gzip data: unpack it first (gunzip)"),
    (b"PK\x03\x04", "a zip archive or an office document: unpack it, or save it as text, first"),
    (b"BZh", "bzip2 data: unpack it first (bunzip2)"),
    (b"\xfd7zXZ\x00", "xz data: unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "zstd data: unpack it first (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first (7z x)"),
    (b"Rar!\x1a\x07", "a rar archive: unpack it first (unrar x)"),
    (b"PAR1", "Parquet data: give it as a table (--table), or export it as CSV or JSON first"),
    (b"SQLite format 3\x00", "an SQLite database: give it as a table (--table), or export what you need first"),
)
_PDF_MAGIC = b"%PDF-"
_PDF = re.compile(rb"(?:\A|[\r\n])%PDF-\d\.\d\s")
_PDF_BYTES = 1024
"""How far into a file the header of a PDF may stand."""
_PDF_OBJECT = re.compile(rb"\d obj\b")
_TEXT_BYTES = bytes({*range(32, 256), *b"\t\n\r\f\b\x1b"} - {127})


def byte_order_mark(head: bytes) -> tuple[str, int]:
    """The encoding that a byte order mark at the start names, and the mark's length in bytes; `("", 0)` without one.

    Text in UTF-16 or UTF-32 that lacks its mark is known by the NULs between its letters: its mark has length 0.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return _wide_encoding(head[:_WIDE_SAMPLE_BYTES]), 0


def why_binary(head: bytes) -> str | None:
    """Say why a file that starts with `head` (8 KB suffice) is binary, with advice; None for text."""
    if byte_order_mark(head)[0]:
        return None
    for magic, advice in _FORMATS:
        if head.startswith(magic):
            return advice
    if is_pdf(head):
        return _A_PDF
    if b"\0" in head:
        return "binary data (it has NUL bytes; if it is UTF-16 text, give its encoding)"
    controls = len(head.translate(None, _TEXT_BYTES))
    return "binary data (most of it is not text)" if controls > _CONTROL_SHARE * len(head) else None


def is_pdf(head: bytes) -> bool:
    """Whether a file that starts with `head` is a PDF, which may have something before its header."""
    return head.startswith(_PDF_MAGIC) or (
        _PDF.search(head[:_PDF_BYTES]) is not None and _PDF_OBJECT.search(head) is not None
    )


def _wide_encoding(sample: bytes) -> str:
    """UTF-16 or UTF-32 without a mark, where the NULs of a sample show it; else empty."""
    if len(sample) < _WIDE_LEAST_BYTES or b"\0" not in sample:
        return ""
    for encoding, width, place in _WIDE:
        whole = sample[: len(sample) // width * width]
        letters, others = whole[place::width], len(whole) - len(whole) // width
        nuls = whole.count(0) - letters.count(0)
        if not letters.count(0) and nuls >= _WIDE_NULS * others and _is_text(whole, encoding):
            return encoding
    return ""


def _is_text(whole: bytes, encoding: str) -> bool:
    """Whether bytes are text in an encoding: they have no control characters, but for a last letter that is cut."""
    text = whole.decode(encoding, "ignore")
    controls = len(text.encode("utf-8", "replace").translate(None, _TEXT_BYTES))
    return controls <= _CONTROL_SHARE * len(text)


def checked_encoding(name: str) -> str:
    """The name that Python's codecs use for an encoding that a user gave.

    Raises:
        ConfigError: Python knows no text encoding of that name.
    """
    try:
        b"ab".decode(name, "replace")  # an empty text would never reach the codec
        codec = codecs.lookup(name)
    except (LookupError, ValueError) as error:
        known = sorted({*encodings.aliases.aliases, *encodings.aliases.aliases.values()})
        close = get_close_matches(name.lower().replace("-", "_"), known, n=1)
        advice = f" Did you mean {close[0]}?" if close else " Examples: utf-8, utf-16, latin-1, cp1252, shift_jis."
        raise ConfigError(f"{name!r} is not a text encoding.{advice}") from error
    return codec.name


def guess_encoding(sample: bytes) -> str:
    """The likely encoding of text that is not valid UTF-8, from a sample around its first invalid byte."""
    text = sample.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    whole = sum(char > "\x7f" for char in text) - broken
    if whole > broken:
        return "utf-8"  # UTF-8 with some damage
    text = sample.decode(_JAPANESE, "ignore")
    kana, half_kana = len(_KANA.findall(text)), len(_HALF_KANA.findall(text))
    if kana > max(half_kana, _KANA_SHARE * sum(char > "\x7f" for char in text)) and _decodes(sample, _JAPANESE):
        return _JAPANESE  # other texts have few kana by chance, and many of half width
    from charset_normalizer import from_bytes

    excluded = [*_NEVER, *([_JAPANESE, *_SHIFT_JIS] if half_kana else [])]
    matches = list(from_bytes(sample, cp_exclusion=excluded))
    # Short western text fits a dozen code pages about equally well; the one that most people use is the best guess.
    close = [match for match in matches if match.chaos <= matches[0].chaos + _CLOSE_CHAOS]
    western = any({_WESTERN, "latin_1"} & {match.encoding, *match.could_be_from_charset} for match in close)
    if western or not matches:
        return _WESTERN
    best = [_meant(match.encoding, sample) for match in matches if match.chaos == matches[0].chaos]
    return min(best, key=lambda name: _COMMON.index(name) if name in _COMMON else len(_COMMON))


def _meant(encoding: str, sample: bytes) -> str:
    meant = _MEANT.get(encoding, encoding)
    return meant if _decodes(sample, meant) else encoding


def _decodes(sample: bytes, encoding: str) -> bool:
    """Whether bytes are text in an encoding, but for the characters that a sample cuts at its ends."""
    for start in (0, 1):
        with suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder(encoding)().decode(sample[start:])
            return True
    return False


def sample_around(fd: int, position: int) -> bytes:
    """The bytes around byte `position` of a file, for `guess_encoding`."""
    return os.pread(fd, _SAMPLE_BYTES, max(0, position - _SAMPLE_BYTES // 4))


def blocks(fd: int, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a range of a file in blocks of at most 4 MiB, fewer where the file has become shorter."""
    while start < end:
        block = os.pread(fd, min(BLOCK_BYTES, end - start), start)
        if not block:
            return
        start += len(block)
        yield block


def ends_by_return(fd: int, head: bytes) -> bool:
    """Whether a file that starts with `head` has no line feed: only then does a carriage return alone end a line."""
    if b"\r" not in head or b"\n" in head:
        return False
    return not any(b"\n" in block for block in blocks(fd, len(head), os.fstat(fd).st_size))


def decoded(fd: int, start: int, end: int, encoding: str) -> Iterator[str]:
    """The text of a range of a file, piece by piece; what can't be decoded is U+FFFD."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for block in blocks(fd, start, end):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def first_invalid(fd: int, start: int, end: int, seen: Callable[[bytes, int], None]) -> int | None:
    """The offset at which a range of a file stops being UTF-8; None if all of it is valid.

    `seen` is called with each valid block and the number of its characters.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = start
    try:
        for block in blocks(fd, start, end):
            seen(block, len(decoder.decode(block)))
            position += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return position + error.start
    return None
