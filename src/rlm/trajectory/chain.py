"""The hash chain over a record: what a writer adds to each line, and the receipt that it leaves beside the record.

A line ends with `"chain":"<hex>"`: the digest over the chain value of the line before and the content of this line. So
a line vouches for itself and for every line before it. The first line also names the scheme: `sha256`, which anyone can
compute anew, so that it shows only accidents and careless edits, or `hmac-sha256`, which takes a key.

`<run_id>.receipt` is written before the first line, as `open`; once the run has ended it says, as `closed`, how far the
record goes. Without it, lines missing at the end could not be told from a run that was cut off.
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
    """The receipt of a record, which stands beside it as JSON."""

    version: int = 1
    run: str
    scheme: str
    key_id: str = ""
    """Tells a wrong key from an altered record, and reveals nothing of the key."""
    state: Literal["open", "closed"] = "open"
    lines: int = 0
    size_bytes: int = 0
    head: str = ""
    """The chain value of the last line."""
    seal: str = ""
    """The digest over all other fields."""


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
        """The chain value of the last line, in hex."""
        return self._last.hex()

    def digest(self, content: bytes) -> bytes:
        """The digest of the content, 32 bytes; keyed if the chain has a key."""
        return hashlib.sha256(content).digest() if self._key is None else hmac.digest(self._key, content, "sha256")

    def add(self, line: bytes) -> bytes:
        """The line of a JSON object as it is written to the file: with its chain value and a newline."""
        value = self.step(line[:-1])
        return b"".join((line[:-1], _MARK, value, b'"}\n'))

    def step(self, content: bytes) -> bytes:
        """Move on by the next line, given without its chain value, and return the value that belongs to it."""
        self._last = self.digest(self._last + content)
        value = self._last.hex() if self.lines else f"{self.scheme}:{self.key_id}:{self._last.hex()}"
        self.lines += 1
        return value.encode()

    def copy(self) -> Chain:
        """Another chain at the same place."""
        return copy.copy(self)

    def seal(self, receipt: Receipt) -> str:
        """The seal that belongs to a receipt."""
        return self.digest(msgspec.json.encode(msgspec.structs.replace(receipt, seal=""))).hex()

    def receipt(self, state: Literal["open", "closed"], size_bytes: int = 0) -> bytes:
        """The receipt of the record as it stands now, encoded as JSON."""
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
    """The content of a line, and its chain value; the value is empty if the line has none."""
    content, mark, end = line.rpartition(_MARK)
    if not mark or not end.endswith(b'"}\n'):
        return line, b""
    return content, end[:-3]


def scheme_of(value: bytes) -> tuple[str, str]:
    """The scheme and the key id that the first line's chain value names; both empty if the scheme is not known."""
    scheme, _, rest = value.decode("ascii", "replace").partition(":")
    return (scheme, rest.partition(":")[0]) if scheme in _SCHEMES else ("", "")


def receipt_key(environ: Mapping[str, str]) -> bytes | None:
    """The key of receipts from the environment; None if it isn't set.

    Raises:
        ConfigError: the key is too short to be a secret.
    """
    key = environ.get(KEY_VARIABLE, "").strip()
    if key and len(key) < KEY_CHARS:
        raise ConfigError(
            f"{KEY_VARIABLE} has fewer than {KEY_CHARS} characters\nmake a random one: openssl rand -hex 32"
        )
    return key.encode("utf-8", "surrogateescape") or None


def receipt_path(path: Path) -> Path:
    """The path of a record's receipt."""
    return path.with_suffix(".receipt")


def write_receipt(path: Path, content: bytes) -> None:
    """Put a receipt in its place at once, readable by its owner only.

    Raises:
        OSError: it can't be written.
    """
    with sole_writer(path) as file:
        file.write(content)
