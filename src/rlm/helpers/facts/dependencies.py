"""`code.analyze_dependencies` and `code.find_complex`: what files are made of, in numbers and names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from rlm.helpers.declaring import helper
from rlm.helpers.facts.python import Function, facts_of, imports_of, listed
from rlm.helpers.facts.survey import Where, ask

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.facts.file import CodeFile
    from rlm.helpers.workspace import Workspace

_HERE = "rlm.helpers.facts.dependencies"


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """One file in numbers, and the modules it imports."""

    functions: int
    classes: int
    lines: int
    complexity: int
    """Cyclomatic, the sum over the file."""
    max_complexity: int
    """Of one function."""
    imports: dict[str, list[str]]
    """`standard`, `relative` and `other` modules."""


@helper("code.analyze_dependencies")
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
    found = ask(where, "dependencies", f"{_HERE}:dependencies_of")
    return found[0] if isinstance(found, list) and len(found) == 1 else found


@helper("code.find_complex")
def find_complex(
    work: Workspace,
    path: str = ".",
    above: int = 10,
    file_pattern: str = "**/*.py",
    limit: int | None = None,
    offset: int = 0,
) -> Json:
    """Find functions whose cyclomatic complexity is greater than a number; a list for a file, a page for a folder.

    Args:
        path: A file or a folder.
        above: The greatest complexity that is left out.
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    return ask(where, "functions", f"{_HERE}:complex_in", above=above)


def dependencies_of(code: CodeFile) -> list[Dependencies]:
    """The one row of a file."""
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


def complex_in(code: CodeFile, above: int) -> list[Function]:
    """The functions that are more complex than `above`."""
    return [each for each in code.facts().functions if each.complexity > above]
