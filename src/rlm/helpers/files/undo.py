"""`fs.undo` and `fs.history`: the undo journal of the workspace, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.helpers.journal import MAX_ENTRIES, UndoJournal
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.changes import Edit
    from rlm.helpers.workspace import Workspace


@helper("fs.undo", right="write")
def undo(work: Workspace, n: int = 1, dry_run: bool = False) -> Edit:
    """Take the last edits back, all or none; refused where a file was changed since.

    Args:
        n: How many edits.
        dry_run: Change nothing and return a diff.
    """
    return UndoJournal(work).undone(n, dry_run=dry_run)


@helper("fs.history")
def history(work: Workspace, limit: int = 20) -> Json:
    """List the edits that fs.undo can take back, the newest first, with their files.

    Args:
        limit: The most edits to list, up to 100.
    """
    return UndoJournal(work).history(max(0, min(limit, MAX_ENTRIES)))
