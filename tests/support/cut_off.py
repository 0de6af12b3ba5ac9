"""Leaves an edit as a kill in the middle of it would."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.helpers.journal_entries import JournalEntry
from rlm.helpers.journal_folder import JournalFolder
from rlm.helpers.operation_table import find
from rlm.helpers.performing import plan

if TYPE_CHECKING:
    from rlm.helpers.workspace import Workspace


def cut_off_edit(work: Workspace, name: str, replaced: int = 1, /, **arguments: Any) -> Path:
    """Replace the first files of an edit, have the others wait beside theirs, and return the folder of its entry."""
    token = plan(work, find(name), arguments).entry
    assert token is not None
    journal = JournalFolder.of(work)
    left = journal.staged(token).rename(journal.committing(token))
    entry = JournalEntry.open(left)
    for number, row in enumerate(entry.manifest.rows):
        path = Path(os.fsdecode(row.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        (path if number < replaced else path.with_name(entry.part(number))).write_bytes(entry.after(row))
    return left
