"""`code.find_functions`, `code.find_classes`, `code.find_imports`: where things are, without their source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.helpers.declaring import helper
from rlm.helpers.facts.patterns import name_filter
from rlm.helpers.facts.python import Class, Function, Import, imports_of
from rlm.helpers.facts.survey import Where, ask

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.facts.file import CodeFile
    from rlm.helpers.workspace import Workspace

_HERE = "rlm.helpers.facts.queries"


@helper("code.find_functions")
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
    return ask(where, "functions", f"{_HERE}:functions_in", pattern=pattern)


@helper("code.find_classes")
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
    return ask(where, "classes", f"{_HERE}:classes_in", pattern=pattern)


@helper("code.find_imports")
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
    return ask(where, "imports", f"{_HERE}:imports_in", module=module)


def functions_in(code: CodeFile, pattern: str | None) -> list[Function]:
    """The functions of a file whose names fit."""
    fits = name_filter(pattern)
    return [each for each in code.facts().functions if fits(each.name) or each.qualname == pattern]


def classes_in(code: CodeFile, pattern: str | None) -> list[Class]:
    """The classes of a file whose names fit."""
    fits = name_filter(pattern)
    return [each for each in code.facts().classes if fits(each.name) or each.qualname == pattern]


def imports_in(code: CodeFile, module: str | None) -> list[Import]:
    """What a file imports from modules whose names fit."""
    fits = name_filter(module)
    found = imports_of(code.tree())
    return [each for each in found if fits(each.module) or (module and each.module.startswith(f"{module}."))]
