"""Imports this package from memory, in a container that has only Python: the sources came over stdin.

Runs before any other module of the package is there, so it imports none of them.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType


class Bundle:
    """A finder and loader, for `sys.meta_path`, of modules whose sources are in a mapping."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self,
        name: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The spec of the module, if it is one of these."""
        if name not in self._sources:
            return None
        is_package = any(other.startswith(f"{name}.") for other in self._sources)
        return ModuleSpec(name, self, origin=f"<{name}>", is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, _spec: ModuleSpec) -> None:
        """Let Python make a module of the usual kind."""
        return

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        exec(compile(self._sources[module.__name__], f"<{module.__name__}>", "exec"), vars(module))  # noqa: S102 - our own sources


def install(sources: Mapping[str, str]) -> None:
    """Let `import` find the modules of `sources`, by their full names."""
    sys.meta_path.insert(0, Bundle(sources))
