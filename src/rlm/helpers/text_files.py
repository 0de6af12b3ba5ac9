"""Text files read exactly: what isn't changed is written back byte for byte.

Encoding, byte order mark and newline style are kept. A line ends at a line feed, with or without a carriage return; a
carriage return alone ends one only in a file without line feeds. Elsewhere it is data, as in a log's progress bars.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.files.encodings import HEAD_BYTES, byte_order_mark, guess_encoding, why_binary
from rlm.helpers.changes import Change

if TYPE_CHECKING:
    from rlm.core.paths import ConfinedPath

MAX_FILE_BYTES = 64 << 20
_SAMPLE_BYTES = 32 << 10
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


class NotText(Exception):
    """A file can't be read as text; the message completes `FILE is ...`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceText:
    """A text file as it was read."""

    place: ConfinedPath
    name: str
    """The path as callers name it."""
    content: bytes | None
    """The bytes on disk; None for a file that doesn't exist yet."""
    encoding: str
    errors: str
    """`strict`, or `surrogateescape` for damaged UTF-8, which keeps the bytes that can't be decoded."""
    mark: bytes
    """The byte order mark."""
    newline: str
    """`\\n`, `\\r\\n` or `\\r`; where a file mixes the first two, `\\n`."""
    text: str
    """The text with `\\n` for every newline; a file that mixes newlines keeps its own."""
    is_mixed: bool = False

    @classmethod
    def new(cls, place: ConfinedPath, name: str) -> SourceText:
        """An empty file that doesn't exist yet."""
        return cls(
            place=place, name=name, content=None, encoding="utf-8", errors="strict", mark=b"", newline="\n", text=""
        )

    @classmethod
    def of(cls, place: ConfinedPath, name: str, content: bytes) -> SourceText:
        """Take bytes as text.

        Raises:
            NotText: the bytes are not text; the message says what they are.
        """
        head = content[:HEAD_BYTES]
        if reason := why_binary(head):
            raise NotText(reason.partition(":")[0])
        encoding, mark_bytes = byte_order_mark(head)
        text, encoding, errors = _decoded(content[mark_bytes:], encoding)
        newline, is_mixed = _newlines(text)
        return cls(
            place=place,
            name=name,
            content=content,
            encoding=encoding,
            errors=errors,
            mark=content[:mark_bytes],
            newline=newline,
            text=text if is_mixed or newline == "\n" else text.replace(newline, "\n"),
            is_mixed=is_mixed,
        )

    @property
    def lines(self) -> list[str]:
        """The lines of `text`, each with its newline."""
        return lines_of(self.text)

    def change(self, text: str) -> Change:
        """The change that gives the file another text, in the same encoding and with the same newlines.

        Raises:
            ToolError: the encoding lacks a character of the text.
        """
        after = self._encoded(text)
        return Change(place=self.place, name=self.name, before=self.content, after=after, encoding=self.encoding)

    def _encoded(self, text: str) -> bytes:
        if text == self.text and self.content is not None:
            return self.content
        if not self.is_mixed and self.newline != "\n":
            text = text.replace("\r\n", "\n").replace("\n", self.newline)
        try:
            return self.mark + text.encode(self.encoding, self.errors)
        except UnicodeEncodeError as error:
            character = text[error.start : error.start + 1]
            raise ToolError(
                f"{shown(self.name)} is {self.encoding}, which has no {character!a}: nothing was written."
            ) from error


def lines_of(text: str) -> list[str]:
    """The lines of a text, each with its newline."""
    end = "\r" if "\r" in text and "\n" not in text else "\n"
    return io.StringIO(text, newline=end).readlines()


def _decoded(content: bytes, encoding: str) -> tuple[str, str, str]:
    """The text, its encoding and its error handler, which together give `content` again."""
    if encoding not in ("", "utf-8"):
        try:
            return content.decode(encoding), encoding, "strict"
        except UnicodeDecodeError as error:
            raise NotText(f"broken {encoding} text") from error
    try:
        return content.decode("utf-8"), "utf-8", "strict"
    except UnicodeDecodeError as error:
        sample = content[max(0, error.start - _SAMPLE_BYTES // 4) :][:_SAMPLE_BYTES]
    named = (encoding,) if encoding else (_declared(content[:HEAD_BYTES]), guess_encoding(sample))
    for each in filter(None, named):
        text = _exactly(content, each)
        if text is not None:
            return text, each, "strict"
    return content.decode("utf-8", "surrogateescape"), "utf-8", "surrogateescape"


def _declared(head: bytes) -> str:
    """The encoding that one of the first two lines names, as Python takes it; empty without one."""
    lines = head.split(b"\n", 2)[:2]
    found = next((found for line in lines if (found := _CODING.match(line))), None)
    return "" if found is None else found[1].decode("ascii")


def _exactly(content: bytes, encoding: str) -> str | None:
    """The text, if it encodes to the same bytes again and `encoding`, a guess, keeps ASCII as it is; else None."""
    try:
        if "\n".encode(encoding) != b"\n":
            return None
        text = content.decode(encoding)
        return text if text.encode(encoding) == content else None
    except (UnicodeError, LookupError):
        return None


def _newlines(text: str) -> tuple[str, bool]:
    """The newline of a text, and whether the text keeps it, for other newlines or returns stand between them."""
    if "\r" not in text:
        return "\n", False
    windows, feeds = text.count("\r\n"), text.count("\n")
    if not feeds:
        return "\r", False
    if windows < feeds:
        return "\n", windows > 0
    return "\r\n", windows < text.count("\r")
