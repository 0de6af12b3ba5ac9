"""The files that a run keeps beside its trajectory while it may have to be resumed: `<run_id>.exact` has the texts as
they were before masking, and `<run_id>.context` the data if it came from no file. Only their owner can read them, and
they are removed when the run completes.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ConfigError, RecordError
from rlm.core.record.blobs import with_texts, without_texts
from rlm.core.whole_files import part_of, sole_writer
from rlm.trajectory.reader import is_run_id, open_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.contexts.context import Context
    from rlm.core.events import Body
    from rlm.core.types import Json

CONTEXT_BYTES = 64 << 20
"""A larger context that came from no file isn't kept: it has to be given again."""
SALT_LINE_BYTES = 64
"""A file of at most this size has nothing but the salt."""
_BLOCK_BYTES = 4 << 20


class ExactFile:
    """The exact bodies of some events of one run; the file is created with the first. A long text is in it once, by its
    digest, however many bodies have it."""

    def __init__(self, path: Path, encode: Callable[[Any], Json]) -> None:
        """`encode` turns any value that guests and tools can return into its JSON form."""
        self.path = path
        self.size_bytes = 0
        """How much was written so far."""
        self._encode = encode
        self._known: set[str] = set()
        self._keeping = RLock()
        self._fd = -1
        self._is_closed = False

    def keep_salt(self, salt: bytes) -> None:
        """Keep the salt of the run's keys. It stays out of the record, where it would let anyone find a masked text by
        trying texts out.

        Raises:
            RecordError: the file can't be written.
        """
        try:
            self._append(msgspec.json.encode({"salt": salt.hex()}))
        except OSError as error:
            raise RecordError(f"{self.path} can't be written: {error.strerror}; set log_dir") from error

    def form(self, body: Body) -> bytes:
        plain = msgspec.to_builtins(body, builtin_types=(bytes,), enc_hook=repr)
        value, texts = without_texts(self._encode(plain))
        places = {place: self._keep_text(text) for place, text in texts.items()}
        return msgspec.json.encode({"body": value} | ({"texts": places} if places else {}))

    def keep(self, seq: int, form: bytes) -> None:
        self._append(b'{"seq":%d,' % seq + form.removeprefix(b"{"))

    def close(self) -> None:
        """Close the file for good: a thread that still works for a run that has ended brings no text back."""
        with self._keeping:
            self._is_closed = True
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                os.close(fd)

    def _keep_text(self, text: str) -> str:
        """Keep a text unless it is kept already, and return its digest."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._keeping:
            if digest not in self._known:
                self._append(msgspec.json.encode({"digest": digest, "text": text}))
                self._known.add(digest)
        return digest

    def _append(self, line: bytes) -> None:
        with self._keeping:
            if self._is_closed:
                return
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            view = memoryview(line + b"\n")
            self.size_bytes += len(view)
            while view:
                view = view[os.write(self._fd, view) :]


class _Entry(msgspec.Struct):
    seq: int = -1
    body: Any = None
    texts: dict[str, str] = {}
    """The digests of the texts that `body` is without, by their places in it."""
    digest: str = ""
    text: str = ""
    salt: str | None = None


class ExactTexts:
    """The exact bodies that an `ExactFile` has kept; empty if the file doesn't exist."""

    def __init__(self, path: Path, decode: Callable[[Json], Any]) -> None:
        self._bodies: dict[int, _Entry] = {}
        self._texts: dict[str, str] = {}
        self._decode = decode
        self.salt: bytes | None = None
        for line in _lines(path):
            try:
                entry = msgspec.json.decode(line, type=_Entry)
                self.salt = self.salt if entry.salt is None else bytes.fromhex(entry.salt)
            except (msgspec.DecodeError, ValueError):  # torn by a kill: its event was never written
                continue
            if entry.digest:
                self._texts[entry.digest] = entry.text
            elif entry.seq >= 0 and self._texts.keys() >= set(entry.texts.values()):
                self._bodies[entry.seq] = entry

    def body(self, seq: int, kind: type[Body]) -> Body | None:
        """The exact body of the event of that number; None if it wasn't kept."""
        entry = self._bodies.get(seq)
        if entry is None:
            return None
        with_texts(entry.body, {place: self._texts[digest] for place, digest in entry.texts.items()})
        return msgspec.convert(self._decode(entry.body), kind)


def exact_path(trajectory: Path) -> Path:
    return trajectory.with_suffix(".exact")


def context_path(trajectory: Path) -> Path:
    return trajectory.with_suffix(".context")


def keep_context(context: Context, path: Path) -> Thread:
    """Copy a context that came from no file and isn't too large, in the thread that is returned.

    If the disk has no room, the context isn't kept, and a resumed run asks for it.
    """
    is_file = bool(context.sources) and all(Path(source).exists() for source in context.sources)
    wanted = not is_file and len(context.parts) == 1 and context.size_bytes <= CONTEXT_BYTES
    keeping = Thread(target=_keep if wanted else _keep_nothing, args=(context, path), name="rlm-keep", daemon=True)
    keeping.start()
    return keeping


def _keep_nothing(_context: Context, _path: Path) -> None:
    return None


def _keep(context: Context, path: Path) -> None:
    assert context.fd is not None
    at, end = context.parts[0].start, context.parts[0].end
    with suppress(OSError), sole_writer(path) as file:
        while at < end and (block := os.pread(context.fd, min(_BLOCK_BYTES, end - at), at)):
            file.write(block)
            at += len(block)


def kept_context(path: Path) -> bytes | None:
    """The bytes of a context that was kept; None if it wasn't."""
    try:
        with open_record(path) as file:
            return file.read(CONTEXT_BYTES + 1)
    except ConfigError:
        return None


def mark_last(trajectory: Path) -> list[Path]:
    """Note that a run has completed, the last in its folder: what was kept for it stays, so that the user can go on
    with it. Returns the records of the runs that were noted before; what was kept for them is of no more use.
    """
    mark = _mark(trajectory)
    marks = (path for path in trajectory.parent.glob("*" + mark.suffix) if is_run_id(path.stem))  # others may be users'
    before = [path.with_suffix(trajectory.suffix) for path in marks if path != mark]
    with suppress(OSError):  # without the mark it is kept like one that never completed
        mark.touch(mode=0o600)
    return before


def _mark(trajectory: Path) -> Path:
    """The empty file that says of a completed run that what it needs to go on is kept."""
    return trajectory.with_suffix(".kept")


def forget(trajectory: Path) -> None:
    """Remove what was kept for resuming a run; where no text was masked, its salt stays, so that it can be forked."""
    context = context_path(trajectory)
    for path in (context, part_of(context), _mark(trajectory)):
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        if exact_path(trajectory).stat().st_size > SALT_LINE_BYTES:
            exact_path(trajectory).unlink()


def _lines(path: Path) -> list[bytes]:
    try:
        with open_record(path) as file:
            return file.read().splitlines()
    except ConfigError:
        return []
