"""Bulk work on files with small results: `from rlm.helpers import fs, code, transform, git`.

Each object has the operations listed in `operation_table`. No module of this package may have the name of one of the
objects: importing it would replace the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.helpers.host_objects import HostObject
from rlm.helpers.rights import DEFAULT

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from rlm.helpers.rights import Right

__all__ = ["HelperSet", "code", "fs", "git", "open_helpers", "transform"]

fs = HostObject("fs")
"""Files: copy, paste, search and replace, read, write, look, undo."""
code = HostObject("code")
"""Analysis of code: facts about it, never its source."""
transform = HostObject("transform")
"""Changes to code that keep it parsing."""
git = HostObject("git")
"""Git, without anything that the repository itself configures."""


class HelperSet:
    """The four objects, working in folders of the caller's choice."""

    def __init__(self, roots: Iterable[str | os.PathLike[str]], rights: Iterable[Right]) -> None:
        roots, rights = tuple(roots), tuple(rights)
        if not roots:
            raise ConfigError("open_helpers: name at least one folder or file to work in.")
        self.fs = HostObject("fs", roots, rights)
        self.code = HostObject("code", roots, rights)
        self.transform = HostObject("transform", roots, rights)
        self.git = HostObject("git", roots, rights)


def open_helpers(*roots: str | os.PathLike[str], rights: Iterable[Right] = DEFAULT) -> HelperSet:
    """Return helpers for these folders and files only, with these rights: `open_helpers("src", rights=["read"]).fs`.

    Raises:
        ConfigError: no folder is named, or a right is unknown.
    """
    return HelperSet(roots, rights)
