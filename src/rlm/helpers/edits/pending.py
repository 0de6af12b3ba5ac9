"""A workspace as it will be once changes that are not written yet are made."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Self

from rlm.helpers.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rlm.core.paths import ConfinedPath
    from rlm.helpers.changes import Change, Edit
    from rlm.helpers.workspace import Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWorkspace(Workspace):
    """A workspace with pending changes."""

    changes: dict[Path, Change] = field(default_factory=dict)

    @classmethod
    def over(cls, work: Workspace) -> Self:
        """The workspace, with the changes that are pending in it already."""
        changes = {**work.changes} if isinstance(work, PendingWorkspace) else {}
        return cls(**{each.name: getattr(work, each.name) for each in fields(Workspace)}, changes=changes)

    def take(self, done: Edit) -> None:
        """Add the changes of an edit to the pending ones."""
        for change in done.changes:
            first = self.changes.get(change.place.path, change)
            self.changes[change.place.path] = replace(change, before=first.before)

    def contents(
        self, pattern: str, path: str = ".", *, skipped: Skipped, hidden: bool = False
    ) -> Iterator[tuple[ConfinedPath, bytes]]:
        for place, content in Workspace.contents(self, pattern, path, skipped=skipped, hidden=hidden):
            change = self.changes.get(place.path)
            if change is None:
                yield place, content
            elif change.after is not None:
                yield place, change.after
