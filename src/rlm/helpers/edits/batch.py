"""`transform.batch`: several transformations in a row, each on the result of the one before, all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ToolError
from rlm.helpers.changes import Edit, edit
from rlm.helpers.edits.pending import PendingWorkspace
from rlm.helpers.operation import helper
from rlm.helpers.operation_table import find, names

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

_NAME = "transform.batch"
_ALONE = "transform.move_module"
"""An operation after which those that follow would not find the files."""
_MOST = 100


@helper("transform.batch", right="write")
def batch(work: Workspace, operations: list[dict[str, Any]], dry_run: bool = False) -> Edit:
    """Do several transformations in order, each on what the one before made of the files, and write them all or none.

    Args:
        operations: Each {"operation": "rename_identifier", ...its arguments}.
        dry_run: Change nothing and return one diff of it all.
    """
    if len(operations) > _MOST:
        raise ToolError(f"{_NAME}: at most {_MOST} operations at once.")
    over = PendingWorkspace.over(work)
    results: list[Json] = []
    for number, each in enumerate(operations):
        done = _apply(over, number, each)
        over.take(done)
        results.append({**done.facts})
    changes = over.changes.values()
    facts: dict[str, Json] = {"files_modified": len(changes), "operations": results}
    return edit(_NAME, changes, facts, dry_run=dry_run)


def _apply(work: Workspace, number: int, asked: dict[str, Any]) -> Edit:
    arguments = dict(asked)
    name = "transform." + str(arguments.pop("operation", "")).removeprefix("transform.")
    known = [each for each in names() if each.startswith("transform.") and each not in (_NAME, _ALONE)]
    if name not in known:
        raise ToolError(f'{_NAME}: operations[{number}] needs an "operation", one of: {", ".join(known)}.')
    if arguments.get("dry_run"):
        raise ToolError(f"{_NAME}: operations[{number}]: dry_run is for the batch as a whole.")
    operation = find(name)
    try:
        done = operation(work, **operation.tool.convert(arguments))
    except ToolError as error:
        raise ToolError(f"{_NAME}: operations[{number}]: {error}") from error
    assert isinstance(done, Edit)
    return done
