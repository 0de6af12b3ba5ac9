"""The rows about a file of code, in any language: names, lines and numbers, each of bounded size.

Names come from the file: one may be a megabyte long, and there may be a million of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

FunctionKind: TypeAlias = Literal["function", "method", "nested"]
_NAME_CHARS = 200
QUALNAME_CHARS = 500
_LISTED = 500
"""The most arguments, bases, methods, decorators or modules that are listed for one definition or file."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function or method."""

    name: str
    qualname: str
    kind: FunctionKind
    """`nested` means inside another function."""
    start_line: int
    """The line of the first decorator, so that copying `start_line` to `end_line` takes the whole function."""
    end_line: int
    args: list[str]
    decorators: list[str]
    is_async: bool
    docstring: bool
    """Whether the function has a docstring; always False in other languages than Python."""
    complexity: int
    """The cyclomatic complexity after McCabe: 1 plus the number of branches, also those of nested functions."""


class Class(msgspec.Struct, frozen=True, kw_only=True):
    """A class."""

    name: str
    qualname: str
    start_line: int
    end_line: int
    bases: list[str]
    decorators: list[str]
    methods: list[str]
    docstring: bool


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """One name that an import binds."""

    module: str
    """The module, with leading dots if it is relative."""
    name: str | None
    """The name imported from the module; None if the module itself is imported."""
    bound_as: str
    line: int
    top_level: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts about one module."""

    functions: list[Function]
    classes: list[Class]
    complexity: int
    """The complexity of its functions and its own branches together."""
    broken_line: int | None = None
    """The first line with an error, in a language whose parser goes on after errors."""


def cut(name: str, most: int = _NAME_CHARS) -> str:
    """A name of bounded length."""
    return name if len(name) <= most else f"{name[:most]}..."


def below(outer: str, name: str) -> str:
    """The qualified name of a definition inside another."""
    return cut(f"{outer}.{name}" if outer else name, QUALNAME_CHARS)


def listed(names: Iterable[str]) -> list[str]:
    """Names of bounded length and number; the last one says how many more there are."""
    found = list(names)
    more = len(found) - _LISTED
    return [cut(name) for name in found[:_LISTED]] + ([f"... and {more:,} more"] if more > 0 else [])
