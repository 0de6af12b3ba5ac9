"""Whether the cells of a completion get anywhere: which of them did again what was done before, or failed as the one
before did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.loop.advice.errors import signature

if TYPE_CHECKING:
    from rlm.core.types import ExecResult

ERRORS_ANEW = 3
"""After so many cells in a row with the same error a model does better without what it has said: it says it again."""
ERRORS_STUCK = 6
"""After so many nothing more is hoped for."""
_WORTH_KEEPING = 2
"""What more cells than that have shown without an error is worth keeping before the model's eyes."""


class Circles:
    """What became of the cells of one completion."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        """A hash of each cell and what it came to."""
        self._good: set[int] = set()
        """Those of them without an error."""
        self._ran = False
        """Whether a cell ran in this turn."""
        self._got_on = False
        """Whether one of those came to something new."""
        self.error = ""
        """What the error of the last cell is known by; empty without one."""
        self.failed = 0
        """How many cells in a row had that error."""
        self.is_same = False
        """Whether the last cell ran before, with the same result."""
        self._same = 1
        """How many cells in a row only did again what was done before."""

    @property
    def repeated(self) -> int:
        """How many cells in a row got nowhere."""
        return max(self.failed, self._same)

    @property
    def is_worth_nothing(self) -> bool:
        """Whether this turn went in circles, and nothing but the way on is worth keeping of all that was said."""
        if not self._ran or len(self._good) > _WORTH_KEEPING:
            return False
        return not self._got_on or self.failed >= ERRORS_ANEW

    @property
    def is_stuck(self) -> bool:
        """Whether nothing more is to be hoped for."""
        return self.failed >= ERRORS_STUCK

    def begin_turn(self) -> None:
        """Take note that a turn begins."""
        self._ran = self._got_on = False

    def end(self, code: str, result: ExecResult) -> None:
        """Take note of what became of a cell."""
        error = "" if result.error is None else signature(result.error)
        self.failed = (self.failed if error == self.error else 0) + 1 if error else 0
        self.error = error
        known = hash((code.strip(), result.output, error))
        self.is_same = known in self._known and result.final is None
        self._same = self._same + 1 if self.is_same else 1
        self._ran, self._got_on = True, self._got_on or not self.is_same
        self._known.add(known)
        if not error:
            self._good.add(known)
