"""Finds the file of a workspace that an import means: by the folders of packages if absolute, exactly if not.

Nothing is imported, and no search path is read: modules outside the workspace are foreign.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUFFIXES = (".py", ".pyi")
Parts = tuple[str, ...]


class ImportPaths:
    """The Python files of a workspace, by the names that imports give them."""

    def __init__(self, files: Iterable[str]) -> None:
        """Take the paths of the files, relative and with `/`."""
        self._by_last: defaultdict[str, list[tuple[Parts, str]]] = defaultdict(list)
        self._exact: dict[Parts, str] = {}
        self._packages: set[Parts] = set()
        for file in files:
            parts = module_parts(file)
            if file.rpartition("/")[2].startswith("__init__."):
                self._packages.add(parts)
            self._exact.setdefault(parts, file)
            if parts:
                self._by_last[parts[-1]].append((parts, file))

    def file_of(self, module: str, importer: str) -> str | None:
        """The file of a module as `importer` names it, with leading dots if relative; None if it is foreign."""
        name = module.lstrip(".")
        parts = tuple(name.split(".")) if name else ()
        if level := len(module) - len(name):
            folder = tuple(importer.split("/")[:-1])
            return self._exact.get((*folder[: len(folder) - level + 1], *parts)) if level <= len(folder) + 1 else None
        fitting = [
            (top, file)
            for found, file in self._by_last.get(parts[-1] if parts else "", ())
            if found[-len(parts) :] == parts
            and (top := found[: -len(parts)]) not in self._packages
            and _may_begin(top, parts[0], importer)
        ]
        return min(fitting, key=lambda each: _distance(each[0], importer))[1] if fitting else None


def module_parts(file: str) -> Parts:
    """The parts of a module's dotted name, as seen from the top of the workspace."""
    stem = file
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    parts = tuple(stem.split("/"))
    return parts[:-1] if parts[-1] == "__init__" else parts


def _may_begin(top: Parts, package: str, importer: str) -> bool:
    """Whether imports of a package may start at a folder: one that hides a standard module must be on every path."""
    return package not in sys.stdlib_module_names or top in ((), tuple(importer.split("/")[:-1]))


def _distance(top: Parts, importer: str) -> tuple[int, int]:
    """How far a folder at which imports start is from the importing file: the nearest one around it comes first."""
    pairs = zip(top, importer.split("/"), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return len(top) - shared, -shared
