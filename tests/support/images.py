"""Image files: a real PNG of any size, and the beginnings of other kinds."""

from __future__ import annotations

import struct
import zlib

GIF = b"GIF89a" + struct.pack("<HH", 3, 2) + bytes(20)
WEBP = b"RIFF" + struct.pack("<I", 20) + b"WEBPVP8 " + bytes(12)


def png(width: int = 1, height: int = 1, *, grey: int = 0) -> bytes:
    """A PNG of one shade of grey."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([grey]) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def jpeg(width: int, height: int, *before: bytes) -> bytes:
    """A JPEG up to its frame header, with segments `before` it."""
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(each) + 2) + each for each in before)
    return b"\xff\xd8" + segments + b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
