"""Refuses edits that no cell may make anywhere: of what runs outside every sandbox without being asked (this Python and
its packages, modules in their place, what git takes for a repository), and names that are taken for something else.

Only guests are checked, in a worker whose path has installed packages and nothing else. Other programs of the user may
run parts of a workspace too; that is for the user to judge: docs/security.md.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.machinery import PathFinder, all_suffixes
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.helpers.changes import Change, Edit

_RUN_AT_START = frozenset({"sitecustomize", "usercustomize"})
_REPOSITORY = ("HEAD", "objects", "refs", "commondir")
"""The names by which git knows a repository, whatever its folder is called."""


def import_folders(roots: Iterable[Path]) -> list[Path]:
    """The folders in or above `roots` that this process imports modules from, such as that of its script."""
    folders = dict.fromkeys(Path(entry).resolve() for entry in sys.path)
    return [
        folder
        for folder in folders
        if any(folder.is_relative_to(root) or root.is_relative_to(folder) for root in roots)
    ]


def require_harmless(edit: Edit, folders: Iterable[Path]) -> None:
    """Check that nothing runs an edit unasked: the host (which imports from `folders`), its workers or git.

    Raises:
        ToolError: something would run it, or a new name can be taken for something else.
    """
    for change in edit.changes:
        if any(change.place.path.is_relative_to(path) for path in _own()):
            raise ToolError(f"{shown(change.name)} is the runtime's own (its Python, or a package there): left alone.")
        for folder in folders:
            if folder in change.place.path.parents:
                _require_no_stand_in(change, folder)
        _require_plain_names(change)
    _require_no_repository(edit)


def _require_no_stand_in(change: Change, folder: Path) -> None:
    name, *rest = change.place.path.relative_to(folder).parts
    module = name.partition(".")[0]
    last = rest[0] if rest else name
    is_module = len(rest) < 2 and last.endswith(tuple(all_suffixes()))
    if change.before is not None or not is_module or (rest and last.partition(".")[0] != "__init__"):
        return
    if module in _RUN_AT_START or (module.isidentifier() and PathFinder.find_spec(module) is not None):
        raise ToolError(
            f"{shown(change.name)} would stand in for Python's, or a package's, {module!r} in the program that runs "
            "this, which imports from that folder: give it another name."
        )


def _require_plain_names(change: Change) -> None:
    """Refuse misleading new names: in a shell, `*` turns a file `-rf` into an option, and `~` means the home folder."""
    for path in (change.place.path, *change.place.path.parents):
        if path == change.place.root or os.path.lexists(path):
            break
        if path.name.startswith(("-", "~")) or not path.name.isprintable():
            raise ToolError(
                f"{shown(path.name)} can't name a new file or folder: a shell or a terminal would take it for "
                "something else ('~' does not stand for a home here)."
            )


def _require_no_repository(edit: Edit) -> None:
    """Refuse to touch a folder that git takes for a repository by its content, as `.git` is refused: its settings name
    programs, which run as soon as a shell's prompt or an editor asks git about that folder.
    """
    new = {path for change in edit.changes for path in (change.place.path, *change.place.path.parents)}
    looked_at: set[Path] = set()
    for change in edit.changes:
        for folder in change.place.path.parents:
            if folder in looked_at:
                break
            looked_at.add(folder)
            has = {name for name in _REPOSITORY if folder / name in new or os.path.lexists(folder / name)}
            if "HEAD" in has and ("commondir" in has or {"objects", "refs"} <= has):
                raise ToolError(
                    f"{shown(change.name)} is in a git repository's own folder, or would make one: left alone."
                )
            if folder == change.place.root:
                break


@cache
def _own() -> tuple[Path, ...]:
    """The folders that the next worker starts from, and that this one imports from."""
    started_from = (Path(sys.executable).parent, Path(sys.prefix) / "pyvenv.cfg", Path(__file__).parents[1])
    return tuple(path.resolve() for path in (*started_from, *map(Path, sys.path)))
