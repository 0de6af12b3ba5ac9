"""`transform.rename_identifier`: renames a name and all its uses in a tree of files, by Python's own rules of scope.

A literal search finds the files that may mention the name; only those are parsed. Strings, comments, foreign attributes
and names of other scopes stay. A rename that would change the meaning of the code is refused, and nothing is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING
from unicodedata import normalize

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import edit
from rlm.helpers.edits.bindings import Bindings
from rlm.helpers.edits.clashes import Clash, clashes_over_files
from rlm.helpers.edits.elsewhere import names_elsewhere
from rlm.helpers.edits.identifiers import checked_identifier
from rlm.helpers.edits.import_paths import ImportPaths
from rlm.helpers.edits.inference import Inference
from rlm.helpers.edits.members import add_members
from rlm.helpers.edits.modules import Module
from rlm.helpers.edits.names_in_strings import lines_with
from rlm.helpers.edits.python_files import may_name_encoding, parsed_again, python_files, refuse_unparsed_file
from rlm.helpers.edits.rename_edits import Editor
from rlm.helpers.edits.reports import LISTED, by_hand, changed, lines_of_files
from rlm.helpers.edits.spans import Unlocatable
from rlm.helpers.edits.targets import SourceTree, holder_of, places_of, target_of
from rlm.helpers.facts.parsing import TOO_DEEP
from rlm.helpers.facts.unread import Unread
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.types import Json
    from rlm.helpers.changes import Change, Edit
    from rlm.helpers.edits.targets import Target
    from rlm.helpers.workspace import Workspace

_NAME = "transform.rename_identifier"
_SPECIAL = re.compile(r"__\w+__")
_STAR = re.compile(rb"import\s*\(?\s*\*")
_CLASHES_LISTED = 10


@helper("transform.rename_identifier", right="write", over_files=True)
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
    paths = ImportPaths(found.files)
    bindings = Bindings(found.modules, paths, asked.old)
    target = target_of(SourceTree(modules=found.modules, bindings=bindings, old=asked.old, new=asked.new), asked.place)
    add_members(target, Inference.of(work))
    changes = _changes(target, paths)
    if changes:
        unsure = [*target.unsure, *_in_strings(target), *_in_other_files(target, work, pattern, found.files)]
        more = by_hand(unsure) | lines_of_files("inferred", target.inferred)
    else:
        more = _advice(found.modules, asked.old)
    counts = {change.name: count for change, count in changes}
    facts = changed(counts, each="replacements", total="total_replacements") | more | found.unread.facts()
    return edit(_NAME, [change for change, _ in changes], facts, dry_run=dry_run)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The rename that the caller asks for."""

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
        if outer and (special := next((name for name in (old, new) if _SPECIAL.fullmatch(name)), None)):
            raise ToolError(f"{_NAME}: {special} is a special name, which Python itself uses; nothing was changed.")
        return cls(place=f"{file}::{outer}" if file else "", old=old, new=new)

    @property
    def is_member(self) -> bool:
        """Whether the name is one in a class or function, of whose objects the code may speak anywhere."""
        return not self.place.endswith("::") and bool(self.place)

    @property
    def wanted(self) -> set[str]:
        """The names of which a module must mention at least one."""
        return {self.old, self.new, holder_of(self.place)} - {""}


@dataclass(slots=True, kw_only=True)
class _Found:
    """The modules that mention a name, all files around them, and those that couldn't be read."""

    modules: dict[str, Module] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    """All files: what an import means depends also on those that don't mention the name."""
    unread: Unread = field(default_factory=Unread)

    @classmethod
    def of(cls, work: Workspace, path: str, file_pattern: str, asked: _Asked) -> _Found:
        found, needles = cls(), [name.encode() for name in asked.wanted]

        def is_wanted(name: str, content: bytes) -> bool:
            found.files.append(name)
            if any(needle in content for needle in needles) or _STAR.search(content) is not None:
                return True
            if not asked.old.isascii() and may_name_encoding(content):
                return True
            # Python takes some letters for others.
            return not content.isascii() and asked.old in normalize("NFKC", content.decode("utf-8", "replace"))

        for file in python_files(work, file_pattern, path, found.unread, is_wanted):
            try:
                found.modules[file.name] = Module.of(file, asked.wanted, every=asked.is_member)
            except RecursionError:
                found.unread.unparsed.append(TOO_DEEP.of(file.name))
        refuse_unparsed_file(work, path, found.unread)
        return found


def _changes(target: Target, paths: ImportPaths) -> list[tuple[Change, int]]:
    """The changed files, and how many places changed in each.

    Raises:
        ToolError: the code would mean something else, or a place can't be changed for certain.
    """
    tree = target.tree
    editor = Editor(tree.bindings, tree.old, tree.new)
    found: list[tuple[Change, int]] = []
    clashes = [*target.clashes, *clashes_over_files(tree.modules, paths, tree.bindings, tree.old, tree.new)]
    for module in tree.modules.values():
        try:
            edits = editor.edits(module, target.others.get(module.name, ()))
        except Unlocatable as error:
            clashes.append(Clash(file=module.name, line=error.line, why=str(error)))
            continue
        if edits.spans:
            text = module.file.layout.with_spans(edits.spans)
            clashes += editor.clashes(module, edits, parsed_again(module.file, text, _NAME))
            found.append((module.file.source.change(text), len(edits.spans)))
    if clashes:
        listed = "\n".join(map(str, clashes[:_CLASHES_LISTED]))
        more = f"\nand {len(clashes) - _CLASHES_LISTED:,} more" if len(clashes) > _CLASHES_LISTED else ""
        raise ToolError(f"{_NAME}: {tree.old} cannot become {tree.new}, nothing was changed:\n{listed}{more}")
    return found


def _advice(modules: Mapping[str, Module], old: str) -> dict[str, Json]:
    """Advice on what to ask for, when no module defines the name at its top."""
    if places := [*islice(places_of(modules, old), LISTED)]:
        advice = "nothing was renamed: give one of defined_elsewhere as old_name"
        return {"defined_elsewhere": [*places], "advice": advice}
    return {
        "advice": f"nothing was renamed: no module here defines {old}; take the folder that holds the one which does"
    }


def _is_local(target: Target) -> bool:
    return target.kind == "types" or (target.kind == "function" and not target.is_parameter)


def _in_other_files(target: Target, work: Workspace, path: str, files: list[str]) -> Iterator[tuple[str, int]]:
    """The lines of stubs and project files that may mean the name; none if it is local."""
    if not _is_local(target):
        yield from names_elsewhere(work, path, target.tree.old, {*files})


def _in_strings(target: Target) -> Iterator[tuple[str, int]]:
    """The strings that may refer to the name; none if it is local."""
    if _is_local(target):
        return
    for module in target.tree.modules.values():
        known = {*module.names.quoted, *(each.node for each in module.mentions(target.tree.old))}
        for line in lines_with(module.file.tree, target.tree.old, known, parameter=target.is_parameter):
            yield module.name, line
