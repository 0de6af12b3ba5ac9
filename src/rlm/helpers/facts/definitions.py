"""`code.find_functions`, `code.find_classes`, `code.find_complex`: what is defined where, without its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.helpers.facts.patterns import name_filter
from rlm.helpers.facts.survey import Where, ask
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.facts.code_file import CodeFile
    from rlm.helpers.facts.rows import Class, Function
    from rlm.helpers.workspace import Workspace


@helper("code.find_functions", over_files=True)
def find_functions(
    work: Workspace,
    path: str = ".",
    pattern: str | None = None,
    file_pattern: str = "**/*.py",
    limit: int | None = None,
    offset: int = 0,
) -> Json:
    """Find functions and methods: names, line ranges, arguments, complexity; a list for a file, a page for a folder.

    Args:
        path: A file or a folder.
        pattern: Which names: a name ("save", "Box.save"), a glob ("handle_*"), or a regular expression (".*_util$").
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    name_filter(pattern)
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    return ask(where, "functions", functions_in, pattern=pattern)


@helper("code.find_classes", over_files=True)
def find_classes(
    work: Workspace,
    path: str = ".",
    pattern: str | None = None,
    file_pattern: str = "**/*.py",
    limit: int | None = None,
    offset: int = 0,
) -> Json:
    """Find classes: names, line ranges, bases and methods; a list for a file, a page for a folder.

    Args:
        path: A file or a folder.
        pattern: Which names: a name, a glob such as "*Error", or a regular expression.
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    name_filter(pattern)
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    return ask(where, "classes", classes_in, pattern=pattern)


@helper("code.find_complex", over_files=True)
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
    return ask(where, "functions", complex_in, above=above)


def functions_in(code: CodeFile, pattern: str | None) -> list[Function]:
    """The functions of a file whose names match."""
    fits = name_filter(pattern)
    return [each for each in code.facts().functions if fits(each.name) or each.qualname == pattern]


def classes_in(code: CodeFile, pattern: str | None) -> list[Class]:
    """The classes of a file whose names match."""
    fits = name_filter(pattern)
    return [each for each in code.facts().classes if fits(each.name) or each.qualname == pattern]


def complex_in(code: CodeFile, above: int) -> list[Function]:
    """The functions that are more complex than `above`."""
    return [each for each in code.facts().functions if each.complexity > above]
