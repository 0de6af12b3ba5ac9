"""`transform.remove_unused_imports`: removes what `code.find_unused_imports` finds, as Ruff's own fix does it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.helpers.edits.python_files import python_files
from rlm.helpers.edits.rewrites import Rewrite, RewritePlan
from rlm.helpers.edits.spans import TextSpan
from rlm.helpers.facts.unread import Unread
from rlm.helpers.facts.unused_imports import PREFIX, unused_in
from rlm.helpers.operation import helper
from rlm.repl.spool_folders import sweep

if TYPE_CHECKING:
    from rlm.helpers.changes import Edit
    from rlm.helpers.edits.python_files import PythonFile
    from rlm.helpers.facts.unused_imports import ImportFinding, Position, Replacement
    from rlm.helpers.workspace import Workspace

_NAME = "transform.remove_unused_imports"
_MOST_BYTES = 64 << 20


@helper("transform.remove_unused_imports", right="write", over_files=True)
def remove_unused_imports(
    work: Workspace, path: str = ".", file_pattern: str = "**/*.py", dry_run: bool = False
) -> Edit:
    """Remove imports that nothing uses; an emptied block gets `pass`.

    Those that may be there for others (in an `__init__.py`, in a `try`) stay, and are listed in check_by_hand.

    Args:
        path: A file or a folder.
        file_pattern: Which files of a folder.
        dry_run: Change nothing and return a diff.
    """
    found = _found(work, path, file_pattern)
    rewrite = Rewrite(
        name=_NAME,
        counted="imports_removed",
        plan=lambda file: _planned(file, found.get(file.name, ())),
        needles=(b"import",),
    )
    return rewrite.edit(work, path, file_pattern, dry_run=dry_run)


def _found(work: Workspace, path: str, file_pattern: str) -> dict[str, list[ImportFinding]]:
    sweep(PREFIX)
    files = python_files(work, file_pattern, path, Unread(), lambda _name, content: b"import" in content)
    batch = {file.name: file.source.text.encode("utf-8", "surrogatepass") for file in files}
    if sum(map(len, batch.values())) > _MOST_BYTES:
        raise ToolError(f"{_NAME}: more than {_MOST_BYTES:,} bytes of code at once: take a folder after the other.")
    return unused_in(batch, [])


def _planned(file: PythonFile, findings: list[ImportFinding] | tuple[()]) -> RewritePlan:
    plan = RewritePlan()
    for each in findings:
        if each.fix is None or each.fix.applicability != "safe":
            plan.unsure.append(each.location.row)
        else:
            plan.spans += [_span(file, edit) for edit in each.fix.edits]
            plan.count += 1
    plan.spans = [*dict.fromkeys(plan.spans)]  # all names of one statement have the same fix
    plan.gone = {each for each in ast.walk(file.tree) if isinstance(each, ast.stmt) and _goes(file, each, plan.spans)}
    return plan


def _span(file: PythonFile, edit: Replacement) -> TextSpan:
    start, end = (_position(file, place) for place in (edit.location, edit.end_location))
    return TextSpan(start=start, end=end, text=edit.content)


def _position(file: PythonFile, place: Position) -> int:
    """The byte position of a place that is given in characters."""
    start = file.layout.at(place.row, 0)
    line = file.layout.content[start : start + 4 * place.column].decode("utf-8", "ignore")
    return start + len(line[: place.column - 1].encode("utf-8"))


def _goes(file: PythonFile, statement: ast.stmt, spans: list[TextSpan]) -> bool:
    """Whether a statement is an import that is removed whole."""
    if not isinstance(statement, (ast.Import, ast.ImportFrom)):
        return False
    start, end = file.layout.start(statement), file.layout.end(statement)
    return any(each.start <= start and end <= each.end and "import" not in each.text for each in spans)
