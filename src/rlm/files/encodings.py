"""Tells text from binary data, finds a text's encoding, and turns it into UTF-8 in flat memory.

Newlines stay as they are. Bytes that can't be decoded become U+FFFD and are counted; they are never fatal.
"""

from __future__ import annotations

import codecs
import encodings.aliases
import os
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
_CLOSE_CHAOS = 0.1

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FORMATS = (
    (b"\x1f\x8b", "gzip data: unpack it first (gunzip)"),
    (b"PK\x03\x04", "a zip archive or an office document: unpack it, or save it as text, first"),
    (b"BZh", "bzip2 data: unpack it first (bunzip2)"),
    (b"\xfd7zXZ\x00", "xz data: unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "zstd data: unpack it first (unzstd)"),
    (b"%PDF-", "a PDF: extract its text first (pdftotext)"),
    (b"PAR1", "Parquet data: export it as CSV or JSON first"),
    (b"SQLite format 3\x00", "an SQLite database: export what you need as CSV or JSON first"),
)
_TEXT_BYTES = bytes({*range(32, 256), *b"\t\n\r\f\b\x1b"} - {127})


def byte_order_mark(head: bytes) -> tuple[str, int]:
    """The encoding that a byte order mark at the start names, and the mark's length in bytes; `("", 0)` without one."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return "", 0


def why_binary(head: bytes) -> str | None:
    """Say why a file that starts with `head` (8 KB suffice) is binary, with advice; None for text."""
    if byte_order_mark(head)[0]:
        return None
    for magic, advice in _FORMATS:
        if head.startswith(magic):
            return advice
    if b"\0" in head:
        return "binary data (it has NUL bytes; if it is UTF-16 text, give its encoding)"
    controls = len(head.translate(None, _TEXT_BYTES))
    return "binary data (most of it is not text)" if controls > _CONTROL_SHARE * len(head) else None


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
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample))
    # Short western text fits a dozen code pages about equally well; the one that most people use is the best guess.
    close = [match for match in matches if match.chaos <= matches[0].chaos + _CLOSE_CHAOS]
    western = any({_WESTERN, "latin_1"} & {match.encoding, *match.could_be_from_charset} for match in close)
    return _WESTERN if western or not matches else matches[0].encoding


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
