"""`code.find_imports`, `code.analyze_dependencies`: what files import, and their size in numbers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from rlm.helpers.facts.patterns import name_filter
from rlm.helpers.facts.python import facts_of, imports_of
from rlm.helpers.facts.rows import listed
from rlm.helpers.facts.survey import Where, ask
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.facts.code_file import CodeFile
    from rlm.helpers.facts.rows import Import
    from rlm.helpers.workspace import Workspace


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """One file in numbers, and the modules it imports."""

    functions: int
    classes: int
    lines: int
    complexity: int
    """The cyclomatic complexity of the whole file."""
    max_complexity: int
    """The cyclomatic complexity of the most complex function."""
    imports: dict[str, list[str]]
    """The modules under `standard`, `relative` and `other`."""


@helper("code.find_imports", over_files=True)
def find_imports(
    work: Workspace,
    path: str = ".",
    module: str | None = None,
    file_pattern: str = "**/*.py",
    limit: int | None = None,
    offset: int = 0,
) -> Json:
    """Find imports: the module, the name taken from it, what it is called, the line; a list for a file, else a page.

    Args:
        path: A file or a folder.
        module: Which modules: a name (with what is below it), a glob, or a regular expression.
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    name_filter(module)
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    return ask(where, "imports", imports_in, module=module)


@helper("code.analyze_dependencies", over_files=True)
def analyze_dependencies(
    work: Workspace, path: str = ".", file_pattern: str = "**/*.py", limit: int | None = None, offset: int = 0
) -> Json:
    """Count functions, classes, lines and complexity of a file and name what it imports; for a folder, a page of such.

    Args:
        path: A file or a folder.
        file_pattern: Which files of a folder.
        limit: The most files; 1,000 if not given, 5,000 at most.
        offset: How many files to leave out before them.
    """
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    found = ask(where, "dependencies", dependencies_of)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def imports_in(code: CodeFile, module: str | None) -> list[Import]:
    """The imports of a file from modules whose names match."""
    fits = name_filter(module)
    found = imports_of(code.tree())
    return [each for each in found if fits(each.module) or (module and each.module.startswith(f"{module}."))]


def dependencies_of(code: CodeFile) -> list[Dependencies]:
    """The row of a file: always one."""
    tree = code.tree()
    facts = facts_of(tree)
    imported = {each.module for each in imports_of(tree)}
    relative = {each for each in imported if each.startswith(".")}
    standard = {each for each in imported - relative if each.partition(".")[0] in sys.stdlib_module_names}
    return [
        Dependencies(
            functions=len(facts.functions),
            classes=len(facts.classes),
            lines=code.lines,
            complexity=facts.complexity,
            max_complexity=max((each.complexity for each in facts.functions), default=0),
            imports={
                "standard": listed(sorted(standard)),
                "relative": listed(sorted(relative)),
                "other": listed(sorted(imported - relative - standard)),
            },
        )
    ]
