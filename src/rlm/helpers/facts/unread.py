"""What a pass over many files has nothing from, and why: those that were left out, and those that can't be parsed."""

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
    """Filled by whoever goes over the files."""

    skipped: Skipped = field(default_factory=Skipped)
    unparsed: list[Unparsed] = field(default_factory=list)

    def facts(self) -> dict[str, Json]:
        """What a result says of them; empty if there are none."""
        said: dict[str, Json] = {}
        if self.unparsed:
            said["errors"] = [msgspec.to_builtins(each) for each in self.unparsed[:_ERRORS_LISTED]]
            said["errors_total"] = len(self.unparsed)
        if left_out := self.skipped.facts():
            said["left_out"] = left_out
        return said

    def refuse_one(self, hint: str = "") -> None:
        """Raise what is wrong with the one file that was asked for; a result has no place to say it.

        Raises:
            ToolError: it can't be parsed.
        """
        if self.unparsed:
            raise ToolError(f"{self.unparsed[0]}.{hint}")
