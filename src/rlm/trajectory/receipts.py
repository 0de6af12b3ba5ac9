"""Checks a record against its receipts: that no line, blob or artifact was altered, removed, added or moved.

What is checked is hostile until the check has passed: files are read within caps, links are not followed, and nothing
in a record can make it pass. A verdict says what it can't prove: without a key, anyone could have made the chain anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Literal, TypeAlias

import msgspec

from rlm.core.events import ArtifactSaved, Blob, Event, MessageAdded, ModelStart, decode
from rlm.core.exceptions import ConfigError
from rlm.trajectory.artifacts import is_artifact_name
from rlm.trajectory.chain import KEYED, PLAIN, Chain, Receipt, receipt_path, scheme_of, split
from rlm.trajectory.reader import BLOB_BYTES, is_digest, open_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rlm.core.notes import ImageNote

Verdict: TypeAlias = Literal["intact", "unfinished", "altered", "none", "no_key", "wrong_key", "unkeyed"]

RECEIPT_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a check found."""

    run_id: str
    verdict: Verdict
    """intact; unfinished (intact as far as it goes: it was cut off, or is being written); altered; none (an older
    record without receipts); no_key (one is needed); wrong_key; unkeyed (one was given, the record has none)."""
    message: str
    """The verdict in words."""
    scheme: str = ""
    """sha256 or hmac-sha256; empty without receipts."""
    lines: int = 0
    """How many lines, from the first, are as they were written."""
    line: int | None = None
    """The number, from 1, of the first line that was changed; for a blob or an artifact, of the line that names it."""
    change: str = ""
    """What was changed about it: altered, removed, added, reordered, blob, artifact or receipt."""
    blobs: int = 0
    """How many blobs were checked."""
    artifacts: int = 0
    """How many artifacts were checked."""

    @property
    def exit_code(self) -> int:
        """0 if the record is as it was written, 1 if it is altered, 2 if the check can't tell."""
        return {"intact": 0, "unfinished": 0, "altered": 1}.get(self.verdict, 2)


class _Broken(Exception):
    """A part of the record isn't as it was written."""

    def __init__(self, line: int | None, change: str, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.change = change


def verify(path: Path, key: bytes | None = None) -> Verification:
    """Check the record at `path`, its blobs and its artifacts; `key` is that of the run.

    Raises:
        ConfigError: the record can't be read.
    """
    with open_record(path) as file:
        check = _Check(path, file, key)
        try:
            return check.run()
        except _Broken as broken:
            found = check.found("altered", str(broken))
            return replace(found, line=broken.line, change=broken.change)


class _Check:
    """The check of one record, in progress."""

    def __init__(self, path: Path, file: IO[bytes], key: bytes | None) -> None:
        self._path = path
        self._file = file
        self._key = key
        self._scheme = ""
        self._lines = 0
        self._last_torn = False
        self._attached = _Attached(path)

    def found(self, verdict: Verdict, message: str) -> Verification:
        return Verification(
            run_id=self._path.stem,
            verdict=verdict,
            message=message,
            scheme=self._scheme,
            lines=self._lines,
            blobs=len(self._attached.blobs),
            artifacts=self._attached.artifacts,
        )

    def run(self) -> Verification:
        """Raises:
        _Broken: a part of the record isn't as it was written.
        """
        receipt = self._receipt()
        self._scheme, key_id = scheme_of(split(next(_lines(self._file), b""))[1])
        if not self._scheme and receipt is not None:
            self._scheme, key_id = receipt.scheme, receipt.key_id
        if not self._scheme:
            return self._without_receipts()
        if refused := self._refuse(key_id, receipt):
            return refused
        chain = Chain(self._path.stem, self._key)
        self._walk(chain, receipt)
        return self._conclude(chain, receipt)

    def _without_receipts(self) -> Verification:
        self._file.seek(0)
        if any(split(line)[1] for line in _lines(self._file)):
            raise _Broken(1, "altered", "line 1 isn't the first line that was written, and there is no receipt")
        return self.found("none", "this record has no receipts: it was made by an older version")

    def _refuse(self, key_id: str, receipt: Receipt | None) -> Verification | None:
        """The verdict if the record can't be checked with this key; None if it can."""
        if self._scheme == PLAIN and self._key is not None:
            said = "its receipts were made without a key, so anyone can have made them: unset the key to check them"
            return self.found("unkeyed", said)
        if self._scheme == KEYED and self._key is None:
            return self.found("no_key", "its receipts were made with a key: set the same RLM_RECEIPT_KEY to check them")
        known = Chain(self._path.stem, self._key).key_id
        if key_id != known and (receipt is None or receipt.key_id != known):
            return self.found("wrong_key", "its receipts were made with another key")
        return None

    def _walk(self, chain: Chain, receipt: Receipt | None) -> None:
        """Follow the chain to its end, and count the lines that fit it."""
        closed_after = receipt.lines if receipt is not None and receipt.state == "closed" else None
        self._file.seek(0)
        for line in _lines(self._file):
            if not line.endswith(b"\n"):
                self._last_torn = True
                return
            before = chain.copy()
            content, value = split(line)
            if chain.step(content) == value:
                self._attached.check(line, chain.lines)
                self._lines = chain.lines
            elif before.lines == closed_after:
                raise _Broken(chain.lines, "added", f"line {chain.lines} was added after the run had ended")
            else:
                self._file.seek(0)
                raise _diagnose(_lines(self._file), before, self._path.stem)

    def _conclude(self, chain: Chain, receipt: Receipt | None) -> Verification:
        if receipt is None:
            raise _Broken(None, "receipt", f"{receipt_path(self._path).name} is gone: lines may be missing at the end")
        if (receipt.run, receipt.scheme, receipt.key_id) != (self._path.stem, self._scheme, chain.key_id):
            raise _Broken(None, "receipt", f"{receipt_path(self._path).name} is of another run, or altered")
        if receipt.seal != chain.seal(receipt):
            raise _Broken(None, "receipt", f"{receipt_path(self._path).name} is altered")
        if receipt.state == "open":
            return self._unfinished()
        self._compare(chain, receipt)
        return self.found("intact", f"intact: {chain.lines:,} lines{self._attached.said()}")

    def _unfinished(self) -> Verification:
        torn = ", and the next is torn" if self._last_torn else ""
        said = f"intact up to line {self._lines:,}{torn}: the run was cut off, or isn't over"
        return self.found("unfinished", f"{said}; what came after can't be told")

    def _compare(self, chain: Chain, receipt: Receipt) -> None:
        """Compare a closed receipt with the lines that were read."""
        if self._last_torn:
            raise _Broken(chain.lines + 1, "altered", f"line {chain.lines + 1} is cut off")
        if receipt.lines > chain.lines:
            first, last = chain.lines + 1, receipt.lines
            what = f"line {last:,} is" if first == last else f"lines {first:,} to {last:,} are"
            raise _Broken(first, "removed", f"{what} missing at the end")
        if receipt.lines < chain.lines:
            raise _Broken(receipt.lines + 1, "added", f"line {receipt.lines + 1} was added after the run had ended")
        if receipt.head != chain.head:
            raise _Broken(None, "receipt", "the receipt names another last line")

    def _receipt(self) -> Receipt | None:
        """The receipt beside the record; None if the file doesn't exist.

        Raises:
            _Broken: the file isn't a receipt.
        """
        path = receipt_path(self._path)
        if not path.exists() and not path.is_symlink():
            return None
        try:
            with open_record(path) as file:
                content = file.read(RECEIPT_BYTES)
            receipt = msgspec.json.decode(content, type=Receipt)
        except (ConfigError, ValueError, RecursionError) as error:
            raise _Broken(None, "receipt", f"{path.name} isn't a receipt") from error
        if msgspec.json.encode(receipt) + b"\n" != content:
            raise _Broken(None, "receipt", f"{path.name} is altered")
        return receipt


class _Attached:
    """The files beside the record that its lines name: blobs, images, artifacts."""

    def __init__(self, path: Path) -> None:
        self._blobs = path.with_suffix(".blobs")
        self._artifacts = path.with_suffix(".artifacts")
        self.blobs: set[str] = set()
        self.artifacts = 0

    def check(self, line: bytes, number: int) -> None:
        """Check the files that a line names.

        Raises:
            _Broken: a file isn't as it was written.
        """
        if b'"blobs":' not in line and b'"images":' not in line and b'"artifact"' not in line:
            return
        try:
            event = decode(line)
        except (ValueError, RecursionError):
            return
        for note in _digests(event):
            if note.digest not in self.blobs:
                self._check_file(self._blobs, note.digest, note.digest, (number, "blob"))
                self.blobs.add(note.digest)
        if isinstance(event.body, ArtifactSaved) and event.body.digest:
            self._check_file(self._artifacts, event.body.name, event.body.digest, (number, "artifact"))
            self.artifacts += 1

    def said(self) -> str:
        counts = ((len(self.blobs), "blobs"), (self.artifacts, "artifacts"))
        return "".join(f", {count:,} {what}" for count, what in counts if count)

    def _check_file(self, folder: Path, name: str, digest: str, where: tuple[int, str]) -> None:
        line, kind = where
        safe = is_digest(name) if kind == "blob" else is_artifact_name(name)
        if not safe or folder.is_symlink() or _digest_of(folder / name) != digest:
            raise _Broken(line, kind, f"the {kind} {name!r} of line {line} is missing or altered")


def _digests(event: Event) -> Iterator[Blob | ImageNote]:
    yield from event.blobs.values()
    if isinstance(event.body, MessageAdded | ModelStart):
        yield from event.body.images


def _digest_of(path: Path) -> str:
    """The SHA-256 of a file in hex; empty if the file can't be read."""
    digest = hashlib.sha256()
    try:
        with open_record(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except ConfigError:
        return ""
    return digest.hexdigest()


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Every line of the file; the last may lack its newline, and a line that is too long comes in pieces."""
    while line := file.readline(BLOB_BYTES):
        yield line


def _diagnose(lines: Iterator[bytes], chain: Chain, run_id: str) -> _Broken:
    """What was changed about the first line that doesn't fit the chain: the line after those that `chain` has."""
    number = chain.lines + 1
    rest = [line for place, line in enumerate(lines, 1) if place >= number]
    seqs = [_seq(line) for line in rest]
    if number == 1 and (run := _run(rest[0])) not in ("", run_id):
        return _Broken(1, "altered", f"it is the record of another run, {run[:32]!r}")
    if (skipped := _added(rest, chain)) and not _is_swap(seqs, number - 1):
        return _Broken(number, "added", f"line {number} was added{f' with {skipped - 1} more' if skipped > 1 else ''}")
    if seqs[0] is not None and seqs[0] > number - 1:
        if number - 1 in seqs:
            return _Broken(number, "reordered", f"line {number} stands in the place of another")
        return _Broken(number, "removed", f"line {number} was removed: the next is event {seqs[0]}")
    return _Broken(number, "altered", f"line {number} was altered")


def _added(rest: list[bytes], chain: Chain) -> int:
    """How many lines must be left out for the chain to go on; 0 if leaving lines out doesn't help."""
    expected = chain.copy()
    for place, line in enumerate(rest):
        content, value = split(line)
        trial = expected.copy()
        if place and trial.step(content) == value:
            return place
    return 0


def _is_swap(seqs: list[int | None], expected: int) -> bool:
    """Whether the lines are the expected ones in another order."""
    first = seqs[0]
    return first is not None and first > expected and expected in seqs and first not in seqs[1:]


class _Place(msgspec.Struct):
    seq: int
    run: str


def _seq(line: bytes) -> int | None:
    try:
        return msgspec.json.decode(line, type=_Place).seq
    except (ValueError, RecursionError):
        return None


def _run(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_Place).run
    except (ValueError, RecursionError):
        return ""
