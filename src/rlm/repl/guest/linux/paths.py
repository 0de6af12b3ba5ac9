"""Which files a confined guest may read: the standard library, shared libraries and time zones, packages if allowed.

It only lists; Landlock enforces.
"""

from __future__ import annotations

import os
import sys
import zoneinfo
from dataclasses import dataclass
from pathlib import Path

_PACKAGE_DIRS = frozenset({"site-packages", "dist-packages"})
_MODULE_SUFFIXES = (".py", ".so", ".dist-info", ".egg-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """Paths for `landlock.create_ruleset`."""

    trees: tuple[str, ...]
    """Folders and files that may be read whole."""
    listings: tuple[str, ...]
    """Folders of which only the names may be read; some files below them are in `trees`."""


def readable(*, packages: bool, checkouts: bool) -> Readable:
    """What a guest may read; `packages` adds the installed packages of this interpreter, and `checkouts` those that are
    installed to be edited, where they are worked on."""
    stdlib, others = _import_dirs()
    trees = [path for folder in stdlib for path in _without_packages(folder)]
    trees += _shared_libraries()
    trees += zoneinfo.TZPATH
    loose = [folder for folder in others if packages and checkouts and _is_loose(folder)]
    if packages:
        trees += [folder for folder in others if not _is_loose(folder)]
        trees += [path for folder in loose for path in _importable(folder)]
    return Readable(trees=tuple(trees), listings=(*stdlib, *loose))


def import_path(*, packages: bool, checkouts: bool) -> list[str]:
    """What `sys.path` should be in a guest; see `readable`."""
    stdlib, others = _import_dirs()
    return [*stdlib, *(folder for folder in others if packages and (checkouts or not _is_loose(folder)))]


def _is_loose(folder: str) -> bool:
    """Whether a folder is none for packages alone, so that it may hold anything."""
    return _PACKAGE_DIRS.isdisjoint(Path(folder).parts)


def _import_dirs() -> tuple[list[str], list[str]]:
    root = str(Path(os.__file__).parent)
    stdlib: list[str] = []
    others: list[str] = []
    for path in dict.fromkeys(sys.path):
        if not Path(path).is_dir():
            continue
        below = os.path.relpath(path, root).split(os.sep)
        in_stdlib = below[0] != os.pardir and not _PACKAGE_DIRS.intersection(below)
        (stdlib if in_stdlib else others).append(path)
    return stdlib, others


def _without_packages(folder: str) -> list[str]:
    return [entry.path for entry in os.scandir(folder) if entry.name not in _PACKAGE_DIRS]


def _importable(folder: str) -> list[str]:
    """The packages and modules of a folder that may hold anything: a checkout that is installed to be edited."""
    return [
        entry.path
        for entry in os.scandir(folder)
        if entry.name.endswith(_MODULE_SUFFIXES) or (Path(entry.path) / "__init__.py").is_file()
    ]


def _shared_libraries() -> list[str]:
    """Every shared library beside one that is loaded: extension modules load more of them later."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    loaded = {line.split(maxsplit=5)[-1] for line in maps if ".so" in line}
    folders = {Path(path).parent for path in loaded if path.startswith("/")}
    libraries = ["/etc/ld.so.cache"]
    for folder in folders:
        if _PACKAGE_DIRS.isdisjoint(folder.parts) and folder.is_dir():
            libraries += [entry.path for entry in os.scandir(folder) if ".so" in entry.name]
    return libraries
