"""`code.analyze_dependencies` and `code.find_complex`: what files are made of, in numbers and names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from rlm.helpers.code_facts import Facts, Function, facts_of, imports_of, python_alone
from rlm.helpers.code_survey import Where, ask
from rlm.helpers.helper import helper

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable

    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

_HERE = "rlm.helpers.code_dependencies"
_LISTED = 200


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


def dependencies_of(tree: ast.Module | Facts, file: str) -> list[Dependencies]:  # noqa: ARG001 - asked alike
    """The one row of a file."""
    tree = python_alone(tree)
    facts = facts_of(tree)
    imported = {each.module for each in imports_of(tree)}
    relative = {each for each in imported if each.startswith(".")}
    standard = {each for each in imported - relative if each.partition(".")[0] in sys.stdlib_module_names}
    return [
        Dependencies(
            functions=len(facts.functions),
            classes=len(facts.classes),
            lines=max((node.end_lineno or 0 for node in tree.body), default=0),
            complexity=facts.complexity,
            max_complexity=max((each.complexity for each in facts.functions), default=0),
            imports={
                "standard": _listed(standard),
                "relative": _listed(relative),
                "other": _listed(imported - relative - standard),
            },
        )
    ]


def complex_in(tree: ast.Module | Facts, file: str, above: int) -> list[Function]:  # noqa: ARG001 - asked alike
    """The functions that are more complex than `above`."""
    return [each for each in facts_of(tree).functions if each.complexity > above]


def _listed(modules: Iterable[str]) -> list[str]:
    return sorted(modules)[:_LISTED]
