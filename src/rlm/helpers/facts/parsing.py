"""Parses Python from unknown sources: a file that can't be parsed is a fact with a line and a reason.

Such a file never ends a survey, and never looks like one without content.
"""

from __future__ import annotations

import ast
import gc
import warnings
from contextlib import contextmanager
from io import BytesIO
from tokenize import detect_encoding
from typing import TYPE_CHECKING

import msgspec

from rlm.core.paths import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PARSED_BYTES = 8 << 20
"""The largest source: a tree takes some fifty times its memory, and a hostile one seven hundred times."""
_REASON_CHARS = 200


class Unparsed(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can't be parsed, and why."""

    file: str
    error: str
    line: int | None = None

    def __str__(self) -> str:
        where = "" if self.line is None else f", line {self.line}"
        return f"{shown(self.file)}{where}: {self.error}"


class NotParsed(Exception):
    """Code can't be parsed: the reason, and the line if it is known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line

    def of(self, file: str) -> Unparsed:
        return Unparsed(file=file, error=self.reason, line=self.line)


TOO_DEEP = NotParsed("nested too deep, or too large, to be looked at")
"""The error for code that can be parsed, but whose tree is too deep to be walked."""


def parsed(code: str | bytes) -> ast.Module:
    """The tree of a module.

    Raises:
        NotParsed: it has a syntax error, a NUL or a broken encoding, is too large, or is nested too deep.
    """
    if len(code) > MAX_PARSED_BYTES:
        raise NotParsed(f"larger than {MAX_PARSED_BYTES:,} bytes, the most that is parsed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are up to the author
            return ast.parse(code)
    except SyntaxError as error:
        raise NotParsed(f"syntax error: {str(error.msg)[:_REASON_CHARS]}", error.lineno or None) from error
    except UnicodeError as error:
        raise NotParsed(f"broken encoding: {str(error)[:_REASON_CHARS]}") from error
    except ValueError as error:
        raise NotParsed(str(error)[:_REASON_CHARS]) from error
    except (RecursionError, MemoryError) as error:
        raise NotParsed("nested too deep, or too large, to be parsed") from error


def as_utf8(content: bytes) -> bytes:
    """The source in UTF-8, whatever its coding line says, with the same lines.

    Raises:
        NotParsed: it is not in the encoding that it names, or not in UTF-8 if it names none.
    """
    try:
        encoding, _ = detect_encoding(BytesIO(content).readline)
        return content.decode(encoding).encode()
    except (SyntaxError, UnicodeError, LookupError) as error:  # `coding: hex` names a codec that is not for text
        raise NotParsed(f"broken encoding: {str(error)[:_REASON_CHARS]}") from error


@contextmanager
def no_collections() -> Iterator[None]:
    """Switch the garbage collector off: trees have no cycles, and it takes half of the time of parsing many."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
