"""Plug-ins: sandboxes, backends and hooks that other packages add by entry points.

A plug-in is code of the user's choice. Its names are read from the metadata of installed packages, which runs none of
it; only one that is named is imported.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group: TypeAlias = Literal["rlm.sandboxes", "rlm.backends", "rlm.hooks"]
"""The groups of entry points; the name of one is what the user calls the sandbox, or the provider of models."""


def names(group: Group) -> tuple[str, ...]:
    """The names of the plug-ins that are installed, sorted."""
    return tuple(sorted({entry.name for entry in _entries(group, tuple(sys.path))}))


def load(group: Group, name: str) -> Any:
    """Import the plug-in `name`, which `names` has given.

    Raises:
        ConfigError: two packages offer it, or it can't be imported; says which, and why.
    """
    found = {_package(entry): entry for entry in _entries(group, tuple(sys.path)) if entry.name == name}
    if len(found) != 1:
        raise ConfigError(f"{group}: {name!r} is offered by {' and '.join(sorted(found))}\nuninstall all but one")
    ((package, entry),) = found.items()
    try:
        return entry.load()
    except Exception as e:
        raise ConfigError(f"the plug-in {name!r} of {package} can't be loaded: {type(e).__name__}: {e}") from e


@cache
def _entries(group: Group, _path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Read once for each module search path: it takes some milliseconds."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def _package(entry: EntryPoint) -> str:
    return "an unnamed package" if entry.dist is None else entry.dist.name
