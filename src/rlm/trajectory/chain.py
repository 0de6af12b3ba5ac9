"""The hash chain over a record: what a writer adds to each line, and the receipt it leaves beside the record.

A line ends with `"chain":"<hex>"`, the digest over the chain value of the line before and all of this line up to there.
So a line vouches for itself and for every line before it. The first also names the scheme: `sha256`, which anyone can
make anew and so shows accidents and careless edits only, or `hmac-sha256` with a key, which nobody without it can.

`<run_id>.receipt` is there before the first line, as `open`, and says how far the record goes once the run has ended,
as `closed`: without it, lines missing at the end could not be told from a run that was cut off.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.core.whole_files import sole_writer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY_VARIABLE = "RLM_RECEIPT_KEY"
KEY_CHARS = 16
"""A shorter key can be guessed."""
PLAIN, KEYED = "sha256", "hmac-sha256"
_MARK = b',"chain":"'
_SCHEMES = (PLAIN, KEYED)


class Receipt(Struct, frozen=True, kw_only=True):
    """What a record came to, beside it as JSON."""

    version: int = 1
    run: str
    scheme: str
    key_id: str = ""
    """Tells a wrong key from an altered record; says nothing of the key."""
    state: Literal["open", "closed"] = "open"
    lines: int = 0
    size_bytes: int = 0
    head: str = ""
    """The chain value of the last line."""
    seal: str = ""
    """The digest over everything above."""


class Chain:
    """The chain of one record, value by value."""

    def __init__(self, run_id: str, key: bytes | None = None) -> None:
        self.run_id = run_id
        self.scheme = PLAIN if key is None else KEYED
        self._key = key
        self.key_id = "" if key is None else self.digest(b"rlm receipt key").hex()[:16]
        self._last = self.digest(b"rlm receipts 1 " + run_id.encode())
        self.lines = 0

    @property
    def head(self) -> str:
        """The value of the last line."""
        return self._last.hex()

    def digest(self, content: bytes) -> bytes:
        """32 bytes over it, with the key if there is one."""
        return hashlib.sha256(content).digest() if self._key is None else hmac.digest(self._key, content, "sha256")

    def add(self, line: bytes) -> bytes:
        """A JSON object on one line, as it is to be written: with its chain value."""
        value = self.step(line[:-1])
        return b"".join((line[:-1], _MARK, value, b'"}\n'))

    def step(self, content: bytes) -> bytes:
        """Go on by the next line, given without its end, and return the value that belongs there."""
        self._last = self.digest(self._last + content)
        value = self._last.hex() if self.lines else f"{self.scheme}:{self.key_id}:{self._last.hex()}"
        self.lines += 1
        return value.encode()

    def copy(self) -> Chain:
        """Another chain at the same place."""
        return copy.copy(self)

    def seal(self, receipt: Receipt) -> str:
        """What the seal of a receipt should be."""
        return self.digest(msgspec.json.encode(msgspec.structs.replace(receipt, seal=""))).hex()

    def receipt(self, state: Literal["open", "closed"], size_bytes: int = 0) -> bytes:
        """The receipt as it is to stand beside the record now."""
        receipt = Receipt(
            run=self.run_id,
            scheme=self.scheme,
            key_id=self.key_id,
            state=state,
            lines=self.lines,
            size_bytes=size_bytes,
            head=self.head,
        )
        return msgspec.json.encode(msgspec.structs.replace(receipt, seal=self.seal(receipt))) + b"\n"


def split(line: bytes) -> tuple[bytes, bytes]:
    """A line without its end, and the chain value it carries; that is empty if it carries none."""
    content, mark, end = line.rpartition(_MARK)
    if not mark or not end.endswith(b'"}\n'):
        return line, b""
    return content, end[:-3]


def scheme_of(value: bytes) -> tuple[str, str]:
    """The scheme and the key id that the first line's value names; empty if it names none that is known."""
    scheme, _, rest = value.decode("ascii", "replace").partition(":")
    return (scheme, rest.partition(":")[0]) if scheme in _SCHEMES else ("", "")


def receipt_key(environ: Mapping[str, str]) -> bytes | None:
    """The key of receipts; None if none is set.

    Raises:
        ConfigError: it is too short to be a secret.
    """
    key = environ.get(KEY_VARIABLE, "").strip()
    if key and len(key) < KEY_CHARS:
        raise ConfigError(
            f"{KEY_VARIABLE} has fewer than {KEY_CHARS} characters\ntake a random one: openssl rand -hex 32"
        )
    return key.encode("utf-8", "surrogateescape") or None


def receipt_path(path: Path) -> Path:
    """Where the receipt of a record is."""
    return path.with_suffix(".receipt")


def write_receipt(path: Path, content: bytes) -> None:
    """Put a receipt in its place at once, readable by its owner only.

    Raises:
        OSError: it can't be written.
    """
    with sole_writer(path) as file:
        file.write(content)
