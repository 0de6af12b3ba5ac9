"""The data a completion works on, as a value: where its bytes are and what may be told of it.

Reading files and detecting encodings is not done here, and the data itself never passes through a message: a sandbox
gets it from `fd`, the model gets `describe()`, the record gets `note()`.
"""

from __future__ import annotations

import heapq
import os
import weakref
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rlm.core.notes import ContextNote, ReadingNote

Kind: TypeAlias = Literal["none", "text", "files", "value"]

DESCRIPTION_CHARS = 2_000
SOURCES_NOTED = 100
_NAMES_SHOWN = 10
_NAME_CHARS = 80
_SHAPE_CHARS = 500
_WARNINGS_SHOWN = 8
_WARNING_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of the data: the whole text or value, or one file."""

    name: str
    """A file's relative posix path, always encodable as UTF-8; empty for text and values."""
    start: int
    """Byte offset in the file behind `Context.fd`."""
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, eq=False, slots=True, kw_only=True, weakref_slot=True)
class Context:
    """Data for a completion, in one open file: UTF-8 (lone surrogates by `surrogatepass`), or JSON for a value.

    The file may be the user's own, so only the ranges in `parts` count, and only positioned reads are safe: the
    descriptor is shared. It is closed by `close()`, or when the last reference goes.
    """

    kind: Kind
    fd: int | None = None
    """Read-only descriptor; None only with kind `none`."""
    parts: tuple[Part, ...] = ()
    size_bytes: int = 0
    chars: int = 0
    """Characters of text; for a value, of its JSON."""
    lines: int = 0
    items: int = 0
    """The number of files, or of a value's items."""
    shape: str = ""
    """What a value is made of, in words; what a text is, or the largest of the files, as far as its ends show it."""
    preview: str = ""
    """The beginning and a bit of the end, at most about 600 characters, control characters made visible."""
    sources: tuple[str, ...] = ()
    """Paths that it was read from."""
    reading: ReadingNote | None = None
    """How they were read; None: as by default."""
    warnings: tuple[str, ...] = ()
    """What was left out or could not be decoded, for the user and the model."""
    digest: str | None = None
    """`sha256:<hex>` over the bytes of all parts, followed for kind `files` by the table of names and sizes."""
    _closing: weakref.finalize[..., Context] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.fd is not None:
            object.__setattr__(self, "_closing", weakref.finalize(self, os.close, self.fd))

    @classmethod
    def empty(cls) -> Context:
        """No data: the variable `context` is None."""
        return cls(kind="none")

    @property
    def is_shown(self) -> bool:
        """Whether the preview has all of it, so that the model has seen it."""
        return self.chars <= len(self.preview)

    def close(self) -> None:
        """Close the file; idempotent. Sandboxes that have opened it keep what they have."""
        if self._closing is not None:
            self._closing()

    def note(self) -> ContextNote:
        """What the record keeps of it."""
        sources = [printable(source) for source in self.sources[:SOURCES_NOTED]]
        is_relative = any(not os.path.isabs(source) for source in sources)  # noqa: PTH117 - texts, perhaps no paths
        return ContextNote(
            kind=self.kind,
            size_bytes=self.size_bytes,
            chars=self.chars,
            parts=self.items,
            digest=self.digest,
            sources=sources,
            folder=printable(os.getcwd()) if is_relative else "",  # noqa: PTH109 - as printable takes it
            reading=self.reading,
        )

    def describe(self) -> str:
        """What the model is told, under 2,000 characters whatever the data: kind, sizes, names or keys, a preview."""
        if self.kind == "none":
            return "There is no context: the variable `context` is None."
        paragraphs = [self._headline(), *self._names(), *self._cautions(), _labelled("Preview", self.preview)]
        text = "\n".join(paragraph for paragraph in paragraphs if paragraph)
        return clip(text, DESCRIPTION_CHARS)

    def _headline(self) -> str:
        size = readable_size(self.size_bytes)
        if self.kind == "files":
            largest = f" The largest is {self._nature}." if self.shape else ""
            return f"`context` is a dict of {self.items:,} files, relative path -> text, {size} in all.{largest}"
        if self.kind == "value":
            return f"`context` is {clip(self.shape, _SHAPE_CHARS)}; {size} in all, parsed already."
        origin = f", from {clip(printable(self.sources[0]), _NAME_CHARS)}" if len(self.sources) == 1 else ""
        nature = f" It is {self._nature}." if self.shape else ""
        return f"`context` is a str of {self.chars:,} characters in {self.lines:,} lines ({size}){origin}.{nature}"

    @property
    def _nature(self) -> str:
        return clip(printable(self.shape), _SHAPE_CHARS)

    def _names(self) -> list[str]:
        if self.kind != "files":
            return []
        largest = heapq.nlargest(_NAMES_SHOWN, self.parts, key=lambda part: part.size_bytes)
        shown = [f"{clip(printable(part.name), _NAME_CHARS)} ({readable_size(part.size_bytes)})" for part in largest]
        label = "Files" if len(self.parts) <= _NAMES_SHOWN else "The largest files"
        return [f"{label}: {', '.join(shown)}."]

    def _cautions(self) -> list[str]:
        shown = [f"Note: {clip(printable(warning), _WARNING_CHARS)}" for warning in self.warnings[:_WARNINGS_SHOWN]]
        left = len(self.warnings) - len(shown)
        return [*shown, f"And {left} more notes."] if left > 0 else shown


def clip(text: str, chars: int) -> str:
    """`text`, cut at the end to `chars` characters with a mark if it is longer."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates as visible escapes, newlines and tabs kept."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or char.isprintable() else _escape(char) for char in text)


def readable_size(size_bytes: int) -> str:
    """A size for people, in decimal units: `1.2 MB`."""
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size_bytes:,} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _labelled(label: str, text: str) -> str:
    return f"{label}:\n{text}" if text else ""
