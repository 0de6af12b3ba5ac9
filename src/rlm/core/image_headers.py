"""What the first bytes of an image say: its type and its size in pixels. Nothing is decoded; what they claim decides an
estimate and a label on the wire, and nothing else."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias

MediaType: TypeAlias = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEGMENTS = 256
"""How many are searched for the frame; thumbnails and colour profiles come before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSize:
    """Width and height, both at least 1."""

    width: int
    height: int


def media_type_of(data: bytes) -> MediaType | None:
    """The type of an image by its signature; None for anything else."""
    if data.startswith(_PNG):
        return "image/png"
    if data.startswith(_JPEG):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def pixel_size(data: bytes) -> PixelSize | None:
    """The size of a PNG or JPEG image; None where it can't be told.

    Frames of a GIF or WebP may be larger than the canvas that its header declares, so these are not read.
    """
    try:
        if data.startswith(_PNG):
            width, height = _png_size(data)
        else:
            height, width = _jpeg_size(data)
    except (ValueError, struct.error, IndexError):
        return None
    return PixelSize(width=width, height=height) if width and height else None


def _png_size(data: bytes) -> tuple[int, ...]:
    if data[12:16] != b"IHDR":
        raise ValueError("no header chunk")
    return struct.unpack_from(">II", data, 16)


def _jpeg_size(data: bytes) -> tuple[int, ...]:
    """Height and width, from the frame header. Source: ITU-T T.81, B.2.2."""
    place = 2
    for _ in range(_JPEG_SEGMENTS if data.startswith(_JPEG) else 0):
        if data[place] != 0xFF:
            break
        if data[place + 1] in _JPEG_FRAMES:
            return struct.unpack_from(">HH", data, place + 5)
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    raise ValueError("no frame header")
