"""The helpers for Python on the host: `fs.copy_lines(...)`.

An operation runs in the caller's process and working directory with every right: it is the caller's own code.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlm.core.calls.arguments import by_position
from rlm.core.exceptions import ToolError
from rlm.helpers.opening import open_workspace
from rlm.helpers.operation_table import find, names
from rlm.helpers.performing import perform
from rlm.helpers.rights import OWN, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rlm.helpers.rights import Right


class HostObject:
    """`fs`, `code`, `transform` or `git` for Python on the host."""

    def __init__(
        self, name: str, roots: Iterable[str | os.PathLike[str]] | None = None, rights: Iterable[Right] = OWN
    ) -> None:
        """Work in `roots`; None for the working directory at the time of each call."""
        self._name = name
        self._roots = None if roots is None else tuple(roots)
        self._rights = checked(rights)

    def __getattr__(self, attribute: str) -> Callable[..., Any]:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        try:
            operation = find(f"{self._name}.{attribute}")
        except ToolError as error:
            raise AttributeError(str(error)) from None

        def call(*args: Any, **kwargs: Any) -> Any:
            work = open_workspace((".",) if self._roots is None else self._roots, self._rights, os.environ)
            work = replace(work, is_own=self._roots is None)
            arguments = by_position(operation.tool.spec.parameters, args, kwargs)
            return perform(work, operation.name, {key: _plain(value) for key, value in arguments.items()})

        call.__name__, call.__qualname__ = attribute, operation.name
        call.__doc__ = operation.function.__doc__
        call.__signature__ = operation.signature  # type: ignore[attr-defined]
        return call

    def __dir__(self) -> list[str]:
        return [name.partition(".")[2] for name in names() if name.startswith(f"{self._name}.")]

    def __repr__(self) -> str:
        return f"<rlm helper {self._name}: {', '.join(dir(self))}>"


def _plain(value: Any) -> Any:
    """`value` with each path in it as text, which operations take."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return os.fspath(value) if isinstance(value, os.PathLike) else value
