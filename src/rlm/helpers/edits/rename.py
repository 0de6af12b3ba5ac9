"""`transform.rename_identifier`: a name and everything that means it, over a tree, by Python's own rules of scope.

A literal search finds the files that could matter; only those are parsed. Strings, comments, foreign attributes and
names of other scopes stay. What would change the meaning of the code is refused, and nothing is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING
from unicodedata import normalize

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.declaring import helper
from rlm.helpers.edits.bindings import Bindings, Module
from rlm.helpers.edits.clashes import Clash, clashes_over_files
from rlm.helpers.edits.many import LISTED, by_hand
from rlm.helpers.edits.members import add_members
from rlm.helpers.edits.modules import Modules
from rlm.helpers.edits.python import checked, python_files, refuse_unparsed_file
from rlm.helpers.edits.renaming import Editor
from rlm.helpers.edits.spans import Unlocatable, checked_identifier
from rlm.helpers.edits.targets import Tree, holder_of, places_of, target_of
from rlm.helpers.edits.unseen import lines_with
from rlm.helpers.facts.parsing import Unparsed
from rlm.helpers.facts.survey import troubles
from rlm.helpers.workspace import Skipped
from rlm.helpers.writing import edit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.types import Json
    from rlm.helpers.edits.targets import Target
    from rlm.helpers.workspace import Workspace
    from rlm.helpers.writing import Change, Edit

_NAME = "transform.rename_identifier"
_STAR = re.compile(rb"import\s*\(?\s*\*")
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
    if "*" in pattern:
        raise ToolError(f"{_NAME}: pattern is a folder or a file, {shown(pattern)} is a glob: that is file_pattern.")
    asked = _Asked.of(old_name, new_name)
    found = _Found.of(work, pattern, file_pattern, asked)
    index = Modules(found.files)
    bindings = Bindings(found.modules, index, asked.old)
    target = target_of(Tree(modules=found.modules, bindings=bindings, old=asked.old, new=asked.new), asked.place)
    add_members(target)
    changes = _changes(target, index)
    more = by_hand([*target.unsure, *_in_strings(target)]) if changes else _advice(found.modules, asked.old)
    facts = _facts(changes) | more | troubles(found.unparsed, found.skipped)
    return edit(_NAME, [change for change, _ in changes], facts, dry_run=dry_run)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is asked for."""

    place: str
    """`pkg/a.py::Class`; empty for every module."""
    old: str
    new: str

    @classmethod
    def of(cls, old_name: str, new_name: str) -> _Asked:
        file, _, qualname = old_name.rpartition("::")
        if "." in qualname and not file:
            raise ToolError(f"{_NAME}: {shown(old_name)} needs the module that it is in: pkg/a.py::{old_name}")
        outer, _, bare = qualname.rpartition(".")
        old, new = checked_identifier(bare, "old_name"), checked_identifier(new_name, "new_name")
        if old == new:
            raise ToolError(f"{_NAME}: old_name and new_name are the same.")
        return cls(place=f"{file}::{outer}" if file else "", old=old, new=new)

    @property
    def wanted(self) -> set[str]:
        """The names that a module must have one of to matter."""
        return {self.old, self.new, holder_of(self.place)} - {""}


@dataclass(kw_only=True)
class _Found:
    """The modules that mention a name, and what there is besides."""

    modules: dict[str, Module] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    unparsed: list[Unparsed] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)

    @classmethod
    def of(cls, work: Workspace, path: str, file_pattern: str, asked: _Asked) -> _Found:
        found, needles = cls(), [name.encode() for name in asked.wanted]

        def matters(name: str, content: bytes) -> bool:
            found.files.append(name)
            if any(needle in content for needle in needles) or _STAR.search(content) is not None:
                return True
            if not asked.old.isascii() and b"coding" in content[:_CODING_BYTES]:
                return True
            # Python takes some letters for others.
            return not content.isascii() and asked.old in normalize("NFKC", content.decode("utf-8", "replace"))

        for file in python_files(work, file_pattern, path, found.skipped, found.unparsed, matters):
            try:
                found.modules[file.name] = Module.of(file, asked.wanted)
            except RecursionError:
                found.unparsed.append(Unparsed(file=file.name, error="nested too deep to be looked at"))
        refuse_unparsed_file(work, path, found.unparsed)
        return found


def _changes(target: Target, index: Modules) -> list[tuple[Change, int]]:
    """The changed files, and how many places each has.

    Raises:
        ToolError: the code would mean something else, or a place can't be changed for certain.
    """
    tree = target.tree
    editor = Editor(tree.bindings, tree.old, tree.new)
    found: list[tuple[Change, int]] = []
    clashes = [*target.clashes, *clashes_over_files(tree.modules, index, tree.bindings, tree.old, tree.new)]
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
        raise ToolError(f"{_NAME}: {tree.old} cannot become {tree.new}, nothing was changed:\n{listed}{more}")
    return found


def _advice(modules: Mapping[str, Module], old: str) -> dict[str, Json]:
    """What to ask for instead of a name that no module has at its top."""
    if places := [*islice(places_of(modules, old), LISTED)]:
        advice = "nothing was renamed: give one of defined_elsewhere as old_name"
        return {"defined_elsewhere": [*places], "advice": advice}
    return {
        "advice": f"nothing was renamed: no module here defines {old}; take the folder that holds the one which does"
    }


def _in_strings(target: Target) -> Iterator[tuple[str, int]]:
    """Strings that may mean the name; none may, where it is local."""
    if target.kind == "types" or (target.kind == "function" and not target.is_parameter):
        return
    for module in target.tree.modules.values():
        known = {*module.names.quoted, *(each.node for each in module.mentions(target.tree.old))}
        for line in lines_with(module.file.tree, target.tree.old, known, parameter=target.is_parameter):
            yield module.name, line


def _facts(found: list[tuple[Change, int]]) -> dict[str, Json]:
    rows: list[Json] = [{"file": change.name, "replacements": count} for change, count in found[:LISTED]]
    facts: dict[str, Json] = {
        "files_modified": len(found),
        "total_replacements": sum(count for _, count in found),
        "files": rows,
    }
    if len(found) > LISTED:
        facts["files_not_listed"] = len(found) - LISTED
    return facts
