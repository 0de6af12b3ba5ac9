"""What a helper wants written, as a value: every file with its bytes before and after.

Nothing is written here. `journal` keeps an edit for undo and writes it all or none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.helpers.diffs import diff_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rlm.core.paths import Place
    from rlm.core.types import Json

MAX_EDIT_BYTES = 256 << 20
"""What the files of one edit may take, before and after together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file, before and after; None where there is no file."""

    place: Place
    name: str
    """The path as callers name it."""
    before: bytes | None
    after: bytes | None
    encoding: str = "utf-8"
    """For a diff."""

    @property
    def size_bytes(self) -> int:
        """What it takes in memory and in the journal."""
        return len(self.before or b"") + len(self.after or b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Files to be written all or none, and what the caller is told when they are."""

    label: str
    """The operation, for the undo journal: `fs.search_replace`."""
    changes: tuple[Change, ...]
    facts: Mapping[str, Json] = field(default_factory=dict)
    dry_run: bool = False
    """Write nothing; the facts get a `diff`."""
    undoable: bool = True
    undoes: tuple[str, ...] = ()
    """Entries of the undo journal that are gone when this is written."""

    def preview(self) -> dict[str, Json]:
        """The facts with a unified diff of what would be written, capped."""
        diff = diff_of(self.changes)
        return {**self.facts, "dry_run": True, "diff": diff.text, "diff_lines_left_out": diff.lines_left_out}


def edit(
    label: str,
    changes: Iterable[Change],
    facts: Mapping[str, Json],
    *,
    dry_run: bool = False,
    undoable: bool = True,
) -> Edit:
    """An edit of the files that really change.

    Raises:
        ToolError: it is too large to be kept for undo.
    """
    kept = tuple(change for change in changes if change.before != change.after)
    size = sum(change.size_bytes for change in kept)
    if size > MAX_EDIT_BYTES:
        raise ToolError(f"{label}: {size:,} bytes are too much for one edit ({MAX_EDIT_BYTES:,}): narrow the files.")
    return Edit(label=label, changes=kept, facts=facts, dry_run=dry_run, undoable=undoable)


def digest(content: bytes | None) -> str | None:
    """What a file's content is known by in the journal; None for no file."""
    return None if content is None else hashlib.sha256(content).hexdigest()
