"""Finds edits that were cut off, even by a kill, and rolls them back before anything is read, planned or staged.

Half an edit looks like a tree in which the rest is still to be done: whoever planned on it would change the rest and
report success. So the first call that comes upon one puts the files back, in whatever workspace the edit was made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined
from rlm.helpers.journal_entries import JournalEntry
from rlm.helpers.journal_folder import JournalFolder
from rlm.helpers.roll_back import Rollback, RolledBack, remove, set_aside
from rlm.helpers.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence


def recover(work: Workspace) -> None:
    """Roll back the edits that were cut off in the folders of a workspace; wait for one that is still being made.

    Raises:
        ToolError: not all of an edit could be rolled back, or one that is being made does not end.
    """
    if not work.journal:
        return
    own = JournalFolder.of(work)
    for left in own.in_progress():
        journal = own.owner(left)
        if left.suffix == ".trash" or not _concerns(left, work, is_own=journal == own):
            continue
        with journal.locked():
            if left.exists():  # else it was finished, or rolled back by somebody else
                roll_back_left(journal, left, work)


def roll_back_left(journal: JournalFolder, left: Path, caller: Workspace) -> None:
    """Roll back an edit that was cut off; its journal is locked.

    Raises:
        ToolError: not all of it could be rolled back; it is out of the way of the next call.
    """
    try:
        entry = JournalEntry.open(left)
    except ToolError:
        became = RolledBack(kept=set_aside(journal, left))
    else:
        work = _workspace_of(entry.manifest.roots, caller)
        became = Rollback(journal=journal, work=work, entry=entry).whole()
    if became.kept is not None:
        raise ToolError(
            f"an earlier edit was cut off, and not all of it could be taken back: {became.told(caller)}. "
            "This call did nothing; later ones leave it at that."
        )


def sweep(journal: JournalFolder, caller: Workspace) -> None:
    """Roll back what was cut off in this journal alone, which is locked; see `roll_back_left`."""
    for left in journal.in_progress():
        if journal.owner(left) == journal:
            if left.suffix == ".trash":
                remove(left)
            else:
                roll_back_left(journal, left, caller)


def _concerns(left: Path, work: Workspace, *, is_own: bool) -> bool:
    """Whether an edit has files in the workspace; one whose manifest is damaged concerns only its own."""
    try:
        rows = JournalEntry.open(left).manifest.rows
    except ToolError:
        return is_own and left.exists()
    paths = (Path(os.fsdecode(row.path)) for row in rows)
    return any(path.is_relative_to(root) for path in paths for root in work.confined.roots)


def _workspace_of(roots: Sequence[bytes], caller: Workspace) -> Workspace:
    """The workspace that an edit was made in, as far as its folders are still there."""
    there = [root for root in map(os.fsdecode, roots) if os.path.lexists(root)]
    return Workspace(confined=Confined(there), journal=caller.journal)
