"""`code.find_functions`, `code.find_classes`, `code.find_imports`: where things are, without their source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.helpers.code_facts import Class, Facts, Function, Import, facts_of, imports_of, python_alone
from rlm.helpers.code_patterns import name_filter
from rlm.helpers.code_survey import Where, ask
from rlm.helpers.helper import helper

if TYPE_CHECKING:
    import ast

    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

_HERE = "rlm.helpers.code_queries"


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
        pattern: Which names: a name, a glob such as "handle_*", or a regular expression such as ".*_util$".
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


def functions_in(tree: ast.Module | Facts, file: str, pattern: str | None) -> list[Function]:  # noqa: ARG001 - asked alike
    """The functions of a module whose names fit."""
    fits = name_filter(pattern)
    return [each for each in facts_of(tree).functions if fits(each.name)]


def classes_in(tree: ast.Module | Facts, file: str, pattern: str | None) -> list[Class]:  # noqa: ARG001 - asked alike
    """The classes of a module whose names fit."""
    fits = name_filter(pattern)
    return [each for each in facts_of(tree).classes if fits(each.name)]


def imports_in(tree: ast.Module | Facts, file: str, module: str | None) -> list[Import]:  # noqa: ARG001 - asked alike
    """What a module imports from modules whose names fit."""
    tree = python_alone(tree)
    fits = name_filter(module)
    return [each for each in imports_of(tree) if fits(each.module) or (module and each.module.startswith(f"{module}."))]
