"""Puts data where a sandbox can read it: one unlinked temporary file per context, measured and hashed on the way.

Memory stays flat whatever the size. Deciding what bytes mean (encodings, binary data) is left to the callers.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from rlm.core.contexts.context import Context, Kind, Part, clip, printable
from rlm.core.contexts.nature import nature_of
from rlm.core.exceptions import ConfigError
from rlm.core.types import Json

Encode: TypeAlias = Callable[[Any], Json]
"""Turns a value into the JSON form of the wire; raises TypeError or ValueError for what has none."""

BLOCK_BYTES = 4 << 20
_SLICE_CHARS = 1 << 20
_HEAD_CHARS = 400
_TAIL_CHARS = 150
_KEYS_SHOWN = 12
_KEY_CHARS = 40


class Tally:
    """Counts and hashes data that goes by in blocks of whole UTF-8 characters."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.chars = 0
        self._newlines = 0
        self._last = b"\n"
        self._sha = hashlib.sha256()
        self._hashing: Future[None] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def add(self, block: bytes, chars: int) -> None:
        """Count `block`, which holds `chars` characters."""
        if not block:
            return
        self.size_bytes += len(block)
        self.chars += chars
        self._newlines += block.count(b"\n")
        self._last = block[-1:]
        self._hash(block)

    def _hash(self, block: bytes) -> None:
        # Hashing a large block releases the interpreter, so a thread beside halves the time of a gigabyte.
        if len(block) < BLOCK_BYTES // 4:
            self._settle()
            self._sha.update(block)
            return
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="rlm-hash")
        self._settle()
        self._hashing = self._pool.submit(self._sha.update, block)

    def _settle(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None

    @property
    def lines(self) -> int:
        """Lines ended by a newline, and the last one if it isn't."""
        return self._newlines + (self._last != b"\n")

    def digest(self, table: Sequence[tuple[str, int]] = ()) -> str:
        """`sha256:<hex>` of all blocks, and of the names and sizes in `table`; nothing may be added afterwards."""
        self._settle()
        if self._pool is not None:
            self._pool.shutdown()
        if table:
            self._sha.update(msgspec.json.encode(table))
        return f"sha256:{self._sha.hexdigest()}"


class Spool:
    """A temporary file without a name, written once, then handed on as a read-only descriptor."""

    def __init__(self) -> None:
        with room():
            self._writing, path = tempfile.mkstemp(prefix="rlm-context-")
        try:
            self._reading = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            Path(path).unlink()
        self.tally = Tally()

    @property
    def position(self) -> int:
        """The offset where the next bytes go."""
        return self.tally.size_bytes

    def write(self, block: bytes, chars: int) -> None:
        """Append UTF-8 that holds `chars` whole characters.

        Raises:
            ConfigError: there is no room for it in the temporary folder.
        """
        self.tally.add(block, chars)
        left = memoryview(block)
        with room():
            while left:
                left = left[os.write(self._writing, left) :]

    def write_text(self, text: str) -> None:
        """Append text of any size, lone surrogates included."""
        for start in range(0, len(text), _SLICE_CHARS):
            piece = text[start : start + _SLICE_CHARS]
            self.write(piece.encode("utf-8", "surrogatepass"), len(piece))

    def finish(self) -> int:
        """End writing and return the descriptor to read from, which the caller closes."""
        os.close(self._writing)
        return self._reading

    def discard(self) -> None:
        """Throw the file away instead of finishing it."""
        os.close(self._writing)
        os.close(self._reading)


@contextmanager
def spooling() -> Iterator[Spool]:
    """A spool that is discarded if the block fails; otherwise the block must `finish` it."""
    spool = Spool()
    try:
        yield spool
    except BaseException:
        spool.discard()
        raise


def text_context(text: str) -> Context:
    """The context of a str."""
    with spooling() as spool:
        spool.write_text(text)
    return _single("text", spool)


def value_context(value: Any, encode: Encode) -> Context:
    """The context of a value that JSON, or the wire's additions to it, can carry.

    Raises:
        ConfigError: it holds something that can't go to a sandbox.
    """
    try:
        encoded = msgspec.json.encode(encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"this {type(value).__name__} can't be a context: {reason}\n"
            "give text, or lists, dicts and tables of numbers, texts, dates and the like"
        ) from error
    with spooling() as spool:
        for start in range(0, len(encoded), BLOCK_BYTES):
            spool.write(encoded[start : start + BLOCK_BYTES], 0)
        spool.tally.chars = len(encoded)
    return _single("value", spool, shape=shape_of(value), items=_count(value))


def preview_of(fd: int, start: int, end: int) -> str:
    """The beginning of a range of UTF-8 and a bit of its end, with a mark between them."""
    if end - start <= _HEAD_CHARS + _TAIL_CHARS:
        return printable(_read(fd, start, end))
    # Four bytes hold any character; what a cut leaves of one at an edge is dropped with the slice or replaced.
    head = _read(fd, start, min(end, start + 4 * _HEAD_CHARS))[:_HEAD_CHARS]
    tail = _read(fd, max(start, end - 4 * _TAIL_CHARS), end)[-_TAIL_CHARS:]
    return printable(f"{head}\n[...]\n{tail}")


def text_nature(fd: int, start: int, end: int) -> str:
    """What the text in a range of a file is, as far as its beginning and its end show it; empty for just text."""
    return nature_of(fd, start, end, shape_of)


def shape_of(value: Any) -> str:
    """What a value is made of, in words: its type, its length, its keys and the types below them."""
    if isinstance(value, Mapping):
        return f"a dict of {len(value):,} keys: {_keys(value)}" if value else "an empty dict"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value):,} items; the first is {_item(value[0])}" if value else "an empty list"
    return _item(value)


def _item(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict with keys {_keys(value)}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"a {type(value).__name__} of {len(value):,}"
    if isinstance(value, str):
        return f"a str of {len(value):,} characters"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _keys(value: Mapping[Any, Any]) -> str:
    shown: list[str] = []
    for key, item in value.items():
        if len(shown) == _KEYS_SHOWN:
            return f"{', '.join(shown)} and {len(value) - _KEYS_SHOWN:,} more"
        shown.append(f"{clip(printable(repr(key)), _KEY_CHARS)} ({type(item).__name__})")
    return ", ".join(shown)


def _count(value: Any) -> int:
    return len(value) if isinstance(value, (Mapping, list, tuple, set, frozenset)) else 1


def _single(kind: Kind, spool: Spool, *, shape: str = "", items: int = 1) -> Context:
    tally, fd = spool.tally, spool.finish()
    if kind == "text":
        shape = text_nature(fd, 0, tally.size_bytes)
    return Context(
        kind=kind,
        fd=fd,
        parts=(Part(name="", start=0, end=tally.size_bytes),),
        size_bytes=tally.size_bytes,
        chars=tally.chars,
        lines=tally.lines,
        items=items,
        shape=shape,
        preview=preview_of(fd, 0, tally.size_bytes),
        digest=tally.digest(),
    )


def _read(fd: int, start: int, end: int) -> str:
    return os.pread(fd, end - start, start).decode("utf-8", "replace")


@contextmanager
def room() -> Iterator[None]:
    """Say what to do where there is no room in the temporary folder. Raises:
    ConfigError: a write there failed.
    """
    try:
        yield
    except OSError as error:
        place = tempfile.gettempdir()
        raise ConfigError(
            f"cannot keep the context in {place}: {error.strerror}. Set TMPDIR to a folder with room."
        ) from error
