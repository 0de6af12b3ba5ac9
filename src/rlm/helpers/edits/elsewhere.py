"""Finds what a change of Python files leaves behind in files that say the same: stubs, entry points of a project."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from rlm.helpers.workspace import Workspace

_STUBS = "*.pyi"
_PROJECTS = "{pyproject.toml,setup.cfg}"


def names_elsewhere(work: Workspace, path: str, name: str, known: Container[str]) -> Iterator[tuple[str, int]]:
    """The files and lines of stubs that have a name, and of entry points that end with it; without `known` files."""
    word = re.escape(name.encode())
    yield from _lines(work, path, _STUBS, re.compile(rb"(?<![\w])" + word + rb"(?![\w])"), known)
    yield from _lines(work, path, _PROJECTS, re.compile(rb"\w:(?:\w+\.)*" + word + rb"(?![\w])"), known)


def modules_elsewhere(work: Workspace, path: str, module: str, known: Container[str]) -> Iterator[tuple[str, int]]:
    """The files and lines of stubs and project files that have the dotted path of a module; without `known` files."""
    dotted = re.compile(rb"(?<![\w.])" + re.escape(module.encode()) + rb"(?![\w])")
    for pattern in (_STUBS, _PROJECTS):
        yield from _lines(work, path, pattern, dotted, known)


def _lines(
    work: Workspace, path: str, pattern: str, wanted: re.Pattern[bytes], known: Container[str]
) -> Iterator[tuple[str, int]]:
    if work.is_file(path):
        return
    for place, content in work.contents(pattern, path, skipped=Skipped()):
        name = work.name(place.path)
        if name not in known and name.isprintable():
            for number, line in enumerate(content.split(b"\n"), 1):
                if wanted.search(line):
                    yield name, number
