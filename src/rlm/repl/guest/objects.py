"""Makes objects of functions whose names have a dot: `fs.glob` becomes `glob` of an object `fs`.

They hold nothing but functions that call the host.
"""

from __future__ import annotations

import builtins
from os import fspath
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest.wire import encode_value, refuse_alike_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]


class HelperObject:
    """A named set of functions."""

    __module__ = "__repl__"
    __slots__ = ("__dict__", "_name")

    def __init__(self, name: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._name = name
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self._name} has no {name!r}; it has {', '.join(dir(self))}")

    def __dir__(self) -> list[str]:
        return sorted(self.__dict__)

    def __repr__(self) -> str:
        return f"<{self._name}: {', '.join(dir(self))}>"


def argument_form(value: Any) -> Any:
    """The wire's form of an argument of a helper: exact, for what it shows might be written to a file.

    Raises:
        TypeError: a part has no form, or a dict would lose some of its values; a path goes as its text.
    """
    form = encode_value(value, other=_path_form)
    refuse_alike_keys(form)
    return form


def _path_form(part: Any) -> Any:
    if not hasattr(type(part), "__fspath__"):
        raise TypeError(f"a helper can't be given a {type(part).__name__}: make text, numbers, lists or dicts of it")
    return encode_value(fspath(part))


def objects_of(functions: Mapping[str, Callable[..., Any]]) -> dict[str, HelperObject]:
    """One object for each first part of the dotted names among `functions`."""
    grouped: dict[str, dict[str, Callable[..., Any]]] = {}
    for name, function in functions.items():
        first, dot, rest = name.partition(".")
        if dot:
            grouped.setdefault(first, {})[rest] = function
    return {name: HelperObject(name, members) for name, members in grouped.items()}
