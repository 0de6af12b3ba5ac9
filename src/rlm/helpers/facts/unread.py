"""The files that a pass over many could not use: those that were left out, and those that can't be parsed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ToolError
from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.facts.parsing import Unparsed

_ERRORS_LISTED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """The files left out so far; whoever goes over the files fills it."""

    skipped: Skipped = field(default_factory=Skipped)
    unparsed: list[Unparsed] = field(default_factory=list)

    def facts(self) -> dict[str, Json]:
        """The facts about these files for a result; empty if all files were used."""
        said: dict[str, Json] = {}
        if self.unparsed:
            said["errors"] = [msgspec.to_builtins(each) for each in self.unparsed[:_ERRORS_LISTED]]
            said["errors_total"] = len(self.unparsed)
        if left_out := self.skipped.facts():
            said["left_out"] = {**left_out}
        if self.skipped.note:
            said["note"] = self.skipped.note
        return said

    def refuse_one(self, hint: str = "") -> None:
        """Check that the one file asked for could be parsed: its result has no place to say otherwise.

        Raises:
            ToolError: the file can't be parsed.
        """
        if self.unparsed:
            raise ToolError(f"{self.unparsed[0]}.{hint}")
