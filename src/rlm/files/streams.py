"""Unpacks compressed data block by block, in flat memory, however much comes out of it."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rlm.files.encodings import blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE_BYTES = 64 << 10
"""How much is handed to a decompressor at once: it copies what is left of it after each of many small streams."""
_OUT_BYTES = 4 << 20
_XZ_MEMORY_BYTES = 256 << 20
"""The most memory that one xz stream may ask for; the strongest usual setting takes 65 MB."""


_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")


class Damaged(Exception):
    """Compressed data is damaged, or ends before its end; what came before was given out."""


class CannotUnpack(Exception):
    """Nothing here can unpack data of this form; says which form, and what is missing."""


class Decompressor(Protocol):
    """What bz2, lzma and zstd offer alike."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """A gzip member, in the manner of the other decompressors."""

    def __init__(self) -> None:
        self._inflating = zlib.decompressobj(wbits=31)
        self._is_full = False

    @property
    def eof(self) -> bool:
        return self._inflating.eof

    @property
    def needs_input(self) -> bool:
        return not self._is_full and not self._inflating.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflating.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        block = self._inflating.decompress(self._inflating.unconsumed_tail + data, max_length)
        self._is_full = len(block) == max_length  # there may be more of it inside
        return block


class _Zstd:
    """A zstd frame, where something here can unpack it."""

    def __init__(self) -> None:
        module = zstd_module()
        self._stream: Decompressor = module.ZstdDecompressor()
        self._error: type[Exception] = module.ZstdError

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return self._stream.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return self._stream.decompress(data, max_length)
        except self._error as error:
            raise ValueError(str(error)) from error


def zstd_module() -> Any:
    """The library that reads zstd. Raises:
    CannotUnpack: there is none here.
    """
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ImportError):
            return import_module(name)
    raise CannotUnpack("zstd data, for which Python needs the package backports-zstd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """A form of compression."""

    name: Literal["gzip", "bzip2", "xz", "zstd"]
    magic: bytes
    """How data in this form begins."""
    open: Callable[[], Decompressor]

    def begins(self, head: bytes) -> bool:
        """Whether data that begins so is of this form: a word that looks like it is none."""
        return head.startswith(self.magic) and (self.name != "bzip2" or _BZIP2.match(head) is not None)


COMPRESSIONS = (
    Compression(name="gzip", magic=b"\x1f\x8b\x08", open=_Gzip),
    Compression(name="bzip2", magic=b"BZh", open=bz2.BZ2Decompressor),
    Compression(
        name="xz", magic=b"\xfd7zXZ\x00", open=lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    ),
    Compression(name="zstd", magic=b"\x28\xb5\x2f\xfd", open=_Zstd),
)
_ERRORS = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


def unpacked(compression: Compression, fd: int, end: int) -> Iterator[bytes]:
    """The content of compressed data, in blocks of at most 4 MiB; streams that follow one another are one.

    Zeros after the last stream are padding. Raises:
        Damaged: it is damaged, cut off, or followed by something else; what could be read was given out before.
        CannotUnpack: nothing here can.
    """
    stream = compression.open()
    for read in _pieces(fd, end):
        piece = read
        while piece:
            if stream.eof:
                if not (piece := piece.lstrip(b"\0")):
                    break
                if not piece.startswith(compression.magic[: len(piece)]):
                    raise Damaged("followed by other data, which is left out")
                stream = compression.open()
            yield from _decompressed(stream, piece)
            piece = stream.unused_data if stream.eof else b""
    if not stream.eof:
        raise Damaged("cut off, read up to there")


def ahead(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, each made while the one before it is used: unpacking leaves the interpreter free."""
    with ThreadPoolExecutor(1, thread_name_prefix="rlm-unpack") as pool:
        pending = pool.submit(next, blocks, None)
        while (block := pending.result()) is not None:
            pending = pool.submit(next, blocks, None)
            yield block


def _pieces(fd: int, end: int) -> Iterator[bytes]:
    for block in blocks(fd, 0, end):
        for start in range(0, len(block), _PIECE_BYTES):
            yield block[start : start + _PIECE_BYTES]


def _decompressed(stream: Decompressor, piece: bytes) -> Iterator[bytes]:
    """What comes out of a piece, which may be much."""
    try:
        while piece or not (stream.eof or stream.needs_input):
            yield stream.decompress(piece, _OUT_BYTES)
            piece = b""
    except _ERRORS as error:
        raise Damaged("damaged, read up to there") from error
