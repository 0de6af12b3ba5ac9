"""`transform.move_module`: moves a module or a package to another place, with every import of it, in one edit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.core.texts import change_texts
from rlm.helpers.changes import Change, edit
from rlm.helpers.edits.elsewhere import modules_elsewhere
from rlm.helpers.edits.identifiers import checked_identifier
from rlm.helpers.edits.imports import ImportChanger
from rlm.helpers.edits.pending import PendingWorkspace
from rlm.helpers.edits.relative_imports import module_of
from rlm.helpers.edits.rewrites import Rewrite
from rlm.helpers.files.moves import moved_files
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm.core.paths import ConfinedPath
    from rlm.core.types import Json
    from rlm.helpers.changes import Edit
    from rlm.helpers.edits.import_paths import Parts
    from rlm.helpers.workspace import Workspace

_NAME = "transform.move_module"
_INIT = "__init__.py"
_SOURCE_FOLDERS = ("src", "lib")
"""Folders that hold packages and are none, even where no `__init__.py` says so."""


@helper("transform.move_module", right="write", over_files=True)
def move_module(
    work: Workspace,
    source: str,
    target: str,
    path: str = ".",
    file_pattern: str = "**/*.py",
    dry_run: bool = False,
) -> Edit:
    """Move a module or a package, and change every import of it and its own relative imports, all or none.

    Strings that begin with its path, and uses of it through its package, are listed in check_by_hand. Files are named
    as they are after the move.

    Args:
        source: The file, "pkg/a.py", or the folder of a package.
        target: Its new path, "pkg/core/b.py"; folders that it needs are made, as packages if it comes from one.
        path: The folder whose imports change.
        file_pattern: Which files of that folder.
        dry_run: Change nothing and return a diff.
    """
    move = _Move.of(work, source, target)
    rewrite = Rewrite(
        name=_NAME,
        counted="imports_changed",
        plan=lambda file: ImportChanger(file=file, old=move.old, new=move.new, moves=True).planned(),
        needles=(move.old.rpartition(".")[2].encode(),),
        also=work.name(move.going.path),
        elsewhere=lambda known: modules_elsewhere(work, path, move.old, known),
    )
    over = PendingWorkspace.over(work)
    changed = rewrite.edit(over, path, file_pattern, dry_run=dry_run)
    over.take(changed)
    moved = moved_files(over, source, target)
    over.take(moved)
    where = change_texts(changed.facts, move.named_then(work))
    facts: dict[str, Json] = {"old_module": move.old, "new_module": move.new, **where, **moved.facts}
    return edit(_NAME, [*over.changes.values(), *move.packages(work)], facts, dry_run=dry_run, from_files=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """A module, and the place that it gets."""

    going: ConfinedPath
    place: ConfinedPath
    old: str
    """Its dotted name."""
    new: str

    @classmethod
    def of(cls, work: Workspace, source: str, target: str) -> _Move:
        """Find the names of a module before and after.

        Raises:
            ToolError: it isn't there, something else is at its new place, or nothing could import it by that name.
        """
        going, place = work.existing(source), work.new(target)
        if not place.missing:
            raise ToolError(f"{_NAME}: there is {shown(target)} already; nothing was moved.")
        if going.path.is_dir() == bool(place.path.suffix) or place.path.suffix not in ("", ".py", ".pyi"):
            raise ToolError(
                f"{_NAME}: {shown(target)} must be a path as {shown(source)} is, of a file or of a package."
            )
        old = _dotted(going)
        top = len(going.parts) - len(old)
        same_top = going.parts[:top] == place.parts[:top] and len(place.parts) > top
        new = _plain((*old[: max(0, -top)], *place.parts[top:])) if top >= 0 and same_top else _dotted(place)
        for part in (*old, *new):
            checked_identifier(part, "source and target")
        return cls(going=going, place=place, old=".".join(old), new=".".join(new))

    def named_then(self, work: Workspace) -> Callable[[str], str]:
        """A function that gives a file, or a line of one, the name that it has after the move."""
        before, after = work.name(self.going.path), work.name(self.place.path)

        def renamed(name: str) -> str:
            rest = name.removeprefix(before)
            return after + rest if rest != name and rest[:1] in ("", "/", ":") else name

        return renamed

    def packages(self, work: Workspace) -> Iterator[Change]:
        """An empty `__init__.py` for each folder that is made, if the module comes from a package."""
        if not (self.going.path.parent / _INIT).is_file():
            return
        for number, folder in enumerate(self.place.missing_folders):
            made = replace(folder, parts=(*folder.parts, _INIT), missing=number + 2)
            yield Change(place=made, name=work.name(made.path), before=None, after=b"")


def _dotted(place: ConfinedPath) -> Parts:
    """The dotted name of a file or a package, by the packages around it; see `module_of`."""
    inner = place if place.path.suffix else replace(place, parts=(*place.parts, _INIT))
    folders = inner.parts[:-1]
    hint = folders[1] if len(folders) > 1 and folders[0] in _SOURCE_FOLDERS else ""
    module = module_of(inner, hint)
    return module[:-1] if module[-1] == "__init__" else module


def _plain(parts: Parts) -> Parts:
    return (*parts[:-1], parts[-1].partition(".")[0])
