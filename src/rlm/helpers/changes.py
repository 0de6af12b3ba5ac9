"""The value that says what a helper wants to write: every file with its bytes before and after.

Nothing is written here. `journal` keeps an edit for undo and writes it all or none.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.files.encodings import byte_order_mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rlm.core.paths import ConfinedPath
    from rlm.core.types import Json

MAX_EDIT_BYTES = 256 << 20
"""The most bytes of one edit, counting each file before and after."""
WAITING = re.compile(r"\.[0-9a-f]{16}-\d+\.rlm")
"""Matches the name of a file that an edit has written beside another one, into whose place it is to be renamed."""
MAX_FOLDERS = 1_000
"""The most folders that one edit makes."""
_FOLDERS_NAMED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file, before and after; None where the file doesn't exist."""

    place: ConfinedPath
    name: str
    """The path as callers name it."""
    before: bytes | None
    after: bytes | None
    encoding: str = "utf-8"
    """The encoding in which a diff shows the file."""
    mode: int | None = None
    """The permission bits of the file where it is made anew; None for those that the umask allows."""

    def text(self, content: bytes | None) -> str:
        """The text that `before` or `after` holds, without its byte order mark."""
        if content is None:
            return ""
        marked, size = byte_order_mark(content[:4])
        return content[size:].decode(marked or self.encoding, "replace")

    @property
    def size_bytes(self) -> int:
        """The bytes that the change takes in memory and in the journal."""
        return len(self.before or b"") + len(self.after or b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Files to be written all or none, and the facts that the caller gets afterwards."""

    label: str
    """The operation, as the undo journal names it: `fs.search_replace`."""
    changes: tuple[Change, ...]
    facts: Mapping[str, Json] = field(default_factory=dict)
    dry_run: bool = False
    """Whether to write nothing and add a `diff` to the facts."""
    undoable: bool = True
    undoes: tuple[str, ...] = ()
    """The entries of the undo journal that this edit undoes; they are removed when it is written."""
    diff_offset: int = 0
    """How many lines of the diff to leave out before the first that is shown."""
    from_files: bool = False
    """Whether all that it writes was in files before, so that no label in it stands for a secret."""


def edit(
    label: str,
    changes: Iterable[Change],
    facts: Mapping[str, Json],
    *,
    dry_run: bool = False,
    undoable: bool = True,
    from_files: bool = False,
) -> Edit:
    """An edit of those files that really change; the facts name the folders that are made for them.

    Raises:
        ToolError: the edit is too large to be kept for undo, or makes too many folders.
    """
    kept = tuple(change for change in changes if change.before != change.after)
    require_size(label, kept, "narrow the files")
    facts = {**facts, **_folders_made(label, kept)}
    return Edit(label=label, changes=kept, facts=facts, dry_run=dry_run, undoable=undoable, from_files=from_files)


def require_size(label: str, changes: Iterable[Change], advice: str) -> None:
    """Check that changes are small enough for one edit.

    Raises:
        ToolError: they are not; the message says what was counted.
    """
    size = sum(change.size_bytes for change in changes)
    if size > MAX_EDIT_BYTES:
        counted = f"its files before and after it are {size:,} bytes together"
        raise ToolError(f"{label}: too much for one edit: {counted}, and {MAX_EDIT_BYTES:,} is the most: {advice}.")


def _folders_made(label: str, changes: Sequence[Change]) -> dict[str, Json]:
    """The facts about folders that the changes make; empty if they make none."""
    names: dict[str, None] = {}
    for change in (each for each in changes if each.before is None):
        above = range(change.place.missing - 1, 0, -1)
        names.update((change.name.rsplit("/", left)[0], None) for left in above)
        if len(names) > MAX_FOLDERS:
            raise ToolError(f"{label}: more than {MAX_FOLDERS:,} folders would be made: do it in several edits.")
    if both := [change.name for change in changes if change.name in names]:
        raise ToolError(f"{label}: {shown(both[0])} would be a file and a folder with files: nothing was written.")
    named: list[Json] = [*names][:_FOLDERS_NAMED]
    more: dict[str, Json] = {"folders_not_listed": len(names) - len(named)} if len(names) > len(named) else {}
    return {"folders_made": named, **more} if names else {}


def digest(content: bytes | None) -> str | None:
    """The SHA-256 by which the journal knows a file's content, in hex; None for no file."""
    return None if content is None else hashlib.sha256(content).hexdigest()
