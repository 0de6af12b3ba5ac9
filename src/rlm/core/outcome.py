"""What became of one completion: what the loop hands on, to a parent's cell or to the user's result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm.core.interfaces import Masker
    from rlm.core.types import RunUsage, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one completion."""

    status: Status
    response: str
    usage: RunUsage
    duration_s: float
    value: Any = None
    limit: str | None = None
    cost_usd: float | None = None
    error: Exception | None = field(default=None, compare=False)

    def masked(self, masker: Masker | None) -> Outcome:
        """As it leaves the runtime; a value of the user's own type is left as it is."""
        if masker is None:
            return self
        return replace(self, response=masker.mask(self.response), value=masker.mask_value(self.value))
