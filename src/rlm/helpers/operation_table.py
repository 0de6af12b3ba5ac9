"""The table of all operations, by name, with their modules, which are imported at first use."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolNotFoundError

if TYPE_CHECKING:
    from rlm.helpers.operation import Operation

OBJECTS = ("fs", "code", "transform", "git")

MODULES: dict[str, tuple[str, ...]] = {
    "rlm.helpers.files.lines": ("fs.copy_lines", "fs.paste_code", "fs.batch_copy"),
    "rlm.helpers.files.whole": ("fs.read_file", "fs.write_file"),
    "rlm.helpers.files.look": ("fs.glob", "fs.stat", "fs.tree"),
    "rlm.helpers.files.replace": ("fs.search_replace",),
    "rlm.helpers.files.grep": ("fs.grep",),
    "rlm.helpers.files.moves": ("fs.move", "fs.delete"),
    "rlm.helpers.files.undo": ("fs.undo", "fs.history"),
    "rlm.helpers.edits.rename": ("transform.rename_identifier",),
    "rlm.helpers.edits.rename_lines": ("transform.rename_lines",),
    "rlm.helpers.edits.debug": ("transform.remove_debug_statements",),
    "rlm.helpers.edits.docstrings": ("transform.add_docstrings",),
    "rlm.helpers.edits.imports": ("transform.change_imports",),
    "rlm.helpers.edits.unused_imports": ("transform.remove_unused_imports",),
    "rlm.helpers.edits.move_module": ("transform.move_module",),
    "rlm.helpers.edits.batch": ("transform.batch",),
    "rlm.helpers.facts.definitions": ("code.find_functions", "code.find_classes", "code.find_complex"),
    "rlm.helpers.facts.dependencies": ("code.find_imports", "code.analyze_dependencies"),
    "rlm.helpers.facts.unused_imports": ("code.find_unused_imports",),
    "rlm.helpers.facts.calls": ("code.call_graph",),
    "rlm.helpers.facts.references": ("code.find_references",),
    "rlm.helpers.repository.look": ("git.git_status", "git.current_branch", "git.diff", "git.log", "git.blame"),
    "rlm.helpers.repository.change": ("git.git_add", "git.git_commit", "git.create_branch"),
    "rlm.helpers.repository.push": ("git.git_push",),
}
"""Each module with the functions that it has: `fs.copy_lines` is the function `copy_lines` of its module."""


def names() -> tuple[str, ...]:
    """The names of all operations, grouped by object."""
    found = [name for listed in MODULES.values() for name in listed]
    return tuple(name for each in OBJECTS for name in found if name.startswith(f"{each}."))


def find(name: str) -> Operation:
    """The operation of that name.

    Raises:
        ToolNotFoundError: there is no such operation; the message names similar ones.
    """
    for module, listed in MODULES.items():
        if name in listed:
            found: Operation = getattr(import_module(module), name.partition(".")[2])
            return found
    close = get_close_matches(name, names(), n=3) or list(names())
    raise ToolNotFoundError(f"there is no {name[:80]!r}. Did you mean: {', '.join(close)}?")
