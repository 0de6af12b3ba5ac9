"""`transform.rename_identifier`: a name and everything that means it, over a tree, by Python's own rules of scope.

A literal search finds the files that could matter; only those are parsed. Strings, comments, foreign attributes and
names of other scopes stay. What would change the meaning of the code is refused, and nothing is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.helpers.code_parsing import Unparsed
from rlm.helpers.code_survey import troubles
from rlm.helpers.helper import helper
from rlm.helpers.transform_bindings import Module, definitions
from rlm.helpers.transform_edits import Clash, Editor
from rlm.helpers.transform_modules import Modules
from rlm.helpers.transform_python import checked, python_files, refuse_unparsed_file
from rlm.helpers.transform_spans import Unlocatable, checked_identifier
from rlm.helpers.transform_targets import place_of, target_of
from rlm.helpers.workspace import Skipped
from rlm.helpers.writing import edit

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.transform_targets import Target
    from rlm.helpers.workspace import Workspace
    from rlm.helpers.writing import Change, Edit

_NAME = "transform.rename_identifier"
_STAR = re.compile(rb"import\s*\(?\s*\*")
_LISTED = 200
_CODING_BYTES = 400
"""Where a line may name the encoding."""
_CLASHES_LISTED = 10


@helper("transform.rename_identifier", right="write")
def rename_identifier(
    work: Workspace,
    pattern: str,
    old_name: str,
    new_name: str,
    file_pattern: str = "**/*.py",
    dry_run: bool = False,
) -> Edit:
    """Rename a function, class or variable and all that refers to it, across modules by their imports, all or none.

    Strings, comments, attributes of other objects and names of other scopes stay. Where the new name already means
    something, nothing is changed.

    Args:
        pattern: The folder, or the one file, to work on.
        old_name: The name as it is: that of every module which defines it, or with its place "pkg/a.py::name" for one
            module's, "pkg/a.py::function.name" for a local name or parameter, "pkg/a.py::Class.name" for a method or
            an attribute used through self.
        new_name: The name as it shall be.
        file_pattern: Which files: a glob.
        dry_run: Change nothing and return a diff.
    """
    place, _, bare = old_name.rpartition("." if "." in old_name.partition("::")[2] else "::")
    old, new = checked_identifier(bare, "old_name"), checked_identifier(new_name, "new_name")
    if old == new:
        raise ToolError(f"{_NAME}: old_name and new_name are the same.")
    tree = _Tree.of(work, pattern, file_pattern, old, new)
    target = target_of(tree.modules, Modules(tree.files), old, place)
    found = _changes(tree, target, old, new) if target.bindings else []
    facts = _facts(found) | troubles(tree.unparsed, tree.skipped)
    if target.unsure:
        facts["check_by_hand"] = [*target.unsure[:_LISTED]]
    if not found and (places := tree.places(old)):
        facts["defined_elsewhere"] = places
        facts["advice"] = "nothing was renamed: give one of defined_elsewhere as old_name"
    return edit(_NAME, [change for change, _ in found], facts, dry_run=dry_run)


@dataclass(kw_only=True)
class _Tree:
    """The modules that mention a name, and what there is besides."""

    modules: dict[str, Module] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    unparsed: list[Unparsed] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)

    @classmethod
    def of(cls, work: Workspace, path: str, file_pattern: str, old: str, new: str) -> _Tree:
        tree, needle = cls(), old.encode()

        def matters(name: str, content: bytes) -> bool:
            tree.files.append(name)
            otherwise_coded = not old.isascii() and b"coding" in content[:_CODING_BYTES]
            return needle in content or otherwise_coded or _STAR.search(content) is not None

        for file in python_files(work, file_pattern, path, tree.skipped, tree.unparsed, matters):
            try:
                tree.modules[file.name] = Module.of(file, {old, new})
            except RecursionError:
                tree.unparsed.append(Unparsed(file=file.name, error="nested too deep to be looked at"))
        refuse_unparsed_file(work, path, tree.unparsed)
        return tree

    def places(self, name: str) -> list[Json]:
        """Where the name is bound, as the argument `old_name` takes it."""
        found = (place_of(module, scope, name) for module, scope in definitions(self.modules.values(), name))
        return [*islice(found, _LISTED)]


def _changes(tree: _Tree, target: Target, old: str, new: str) -> list[tuple[Change, int]]:
    """The changed files, and how many places each has.

    Raises:
        ToolError: the code would mean something else, or a place can't be changed for certain.
    """
    editor = Editor(target.bindings, old, new)
    found: list[tuple[Change, int]] = []
    clashes: list[Clash] = []
    for module in tree.modules.values():
        try:
            edits = editor.edits(module, target.others.get(module.name, ()))
        except Unlocatable as error:
            clashes.append(Clash(file=module.name, line=error.line, why=str(error)))
            continue
        if edits.spans:
            text = module.file.layout.with_spans(edits.spans)
            clashes += editor.clashes(module, edits, checked(module.file, text, _NAME))
            found.append((module.file.source.change(text), len(edits.spans)))
    if clashes:
        listed = "\n".join(map(str, clashes[:_CLASHES_LISTED]))
        more = f"\nand {len(clashes) - _CLASHES_LISTED:,} more" if len(clashes) > _CLASHES_LISTED else ""
        raise ToolError(f"{_NAME}: {old} cannot become {new}, nothing was changed:\n{listed}{more}")
    return found


def _facts(found: list[tuple[Change, int]]) -> dict[str, Json]:
    rows: list[Json] = [{"file": change.name, "replacements": count} for change, count in found[:_LISTED]]
    facts: dict[str, Json] = {
        "files_modified": len(found),
        "total_replacements": sum(count for _, count in found),
        "files": rows,
    }
    if len(found) > _LISTED:
        facts["files_not_listed"] = len(found) - _LISTED
    return facts
