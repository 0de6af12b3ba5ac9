"""Makes a Context of whatever a user gives: text, values, files, folders, globs, streams.

Reads on the calling thread, in flat memory. What can't be used as given is a ConfigError; what is left out of a folder
is a warning of the context, so that neither the user nor the model takes the data for complete when it isn't.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rlm.core.context import Context, Part, printable
from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.paths import Confined
from rlm.core.spool import Spool, Tally, preview_of, spooling, text_context, value_context
from rlm.files.encodings import HEAD_BYTES, byte_order_mark, checked_encoding, decoded, first_invalid, guess_encoding
from rlm.files.encodings import sample_around, why_binary
from rlm.files.walk import Found, Walk, matches, rules_above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rlm.core.spool import Encode

_STREAM_BYTES = 1 << 20
_NAMES_IN_WARNING = 3
_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files and streams are read."""

    encoding: str | None = None
    """None: a byte order mark decides, then UTF-8 if it is valid, then a guess."""
    binary: bool = False
    """Take binary data too, one character per byte: `context.encode("latin-1")` gives the bytes back."""
    everything: bool = False
    """Take hidden files, and files that `.gitignore` excludes, from folders and `**` patterns."""


def prepare(value: Any, encode: Encode, reading: Reading = Reading()) -> Context:  # noqa: B008 - a frozen value
    """Make the context of `value`; a file or stream is text, a folder or glob or several files are a dict of texts.

    A folder, or a pattern with `**`, leaves out what is hidden or ignored by git; other patterns take what they
    match, as a shell does. Blocks while reading.

    Raises:
        ConfigError: it is missing, unreadable, binary without being asked for, or of a kind no sandbox can take.
    """
    if reading.encoding is not None:
        checked_encoding(reading.encoding)
    if value is None:
        return Context.empty()
    if isinstance(value, Context):
        return value
    if isinstance(value, str):
        return text_context(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _from_stream(io.BytesIO(value), "these bytes", reading)
    if isinstance(value, os.PathLike):
        return _from_paths([Path(value)], reading)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, os.PathLike) for item in value):
        return _from_paths([Path(item) for item in value], reading)
    if hasattr(value, "read"):
        return _from_stream(value, str(getattr(value, "name", "the stream")), reading)
    return value_context(value, encode)


def _from_stream(stream: IO[Any], name: str, reading: Reading) -> Context:
    stream = getattr(stream, "buffer", stream)
    with spooling() as spool:
        while piece := stream.read(_STREAM_BYTES):
            if isinstance(piece, str):
                spool.write_text(piece)
            else:
                spool.write(piece, 0)
    fd = spool.finish()
    try:
        return _text_of(fd, name, reading)
    except BaseException:
        os.close(fd)
        raise


def _from_paths(paths: list[Path], reading: Reading) -> Context:
    if len(paths) == 1 and (paths[0].is_file() or not (paths[0].is_dir() or _is_glob(paths[0]))):
        fd = _open(paths[0])
        try:
            return _text_of(fd, str(paths[0]), reading)
        except BaseException:
            os.close(fd)
            raise
    return _Gathering(reading=reading).gather(paths)


def _text_of(fd: int, name: str, reading: Reading) -> Context:
    """The context of one open file, without a copy if it is UTF-8; takes over `fd`."""
    before = os.fstat(fd)
    encoding, start = _encoding_of(fd, name, reading)
    tally = Tally()
    invalid = first_invalid(fd, start, before.st_size, tally.add) if encoding == "utf-8" else start
    if invalid is None:
        warnings = _changed(fd, before, name)
        return _whole(fd, start, tally, name, warnings)
    encoding = encoding if reading.encoding or encoding != "utf-8" or not invalid else encoding
    with spooling() as spool:
        warnings = _transcode(spool, fd, (start, before.st_size), name, encoding)
        warnings += _changed(fd, before, name)
    os.close(fd)
    return _whole(spool.finish(), 0, spool.tally, name, warnings)
