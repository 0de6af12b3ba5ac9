"""The rows that are told of a file of code, whatever its language: names, lines and numbers, each of bounded size.

A name is of the file's making: it may be a megabyte long, and there may be a million of them.
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
"""Arguments, bases, methods, decorators and modules that are named of one definition or file."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function or method."""

    name: str
    qualname: str
    kind: FunctionKind
    """`nested`: inside of another function."""
    start_line: int
    """Of its first decorator, so that copying `start_line` to `end_line` takes all of it."""
    end_line: int
    args: list[str]
    decorators: list[str]
    is_async: bool
    docstring: bool
    """Of Python alone."""
    complexity: int
    """Cyclomatic, after McCabe: 1 and one more for each branch, nested functions included."""


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
    """With leading dots where it is relative."""
    name: str | None
    """What is taken from the module; None where the module itself is imported."""
    bound_as: str
    line: int
    top_level: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to tell of one module."""

    functions: list[Function]
    classes: list[Class]
    complexity: int
    """The sum over its functions and its own branches."""
    broken_line: int | None = None
    """The first line that is no correct code, in a language whose parser goes on after it."""


def cut(name: str, most: int = _NAME_CHARS) -> str:
    """A name of bounded length."""
    return name if len(name) <= most else f"{name[:most]}..."


def below(outer: str, name: str) -> str:
    """The qualified name of what is defined inside of something else."""
    return cut(f"{outer}.{name}" if outer else name, QUALNAME_CHARS)


def listed(names: Iterable[str]) -> list[str]:
    """Names of bounded length and number; the last one says how many more there are."""
    found = list(names)
    more = len(found) - _LISTED
    return [cut(name) for name in found[:_LISTED]] + ([f"... and {more:,} more"] if more > 0 else [])
