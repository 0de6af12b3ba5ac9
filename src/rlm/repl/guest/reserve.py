"""Memory that is set aside, so that a REPL which has used up all of its own can still say so, and run the cell that
frees some. A REPL in which nothing is freed then is of no more use: it ends, and the host starts another.
"""

from __future__ import annotations

import builtins
from gc import collect

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

RESERVE_BYTES = 16 << 20
OUT_OF_MEMORY = 71
"""The exit code of a guest that has no memory left to go on."""
_KEPT = "the cell wanted more memory than this REPL has; variables are kept"
_FULL = (
    "the variables fill the memory of this REPL: delete large ones in the next cell (SHOW_VARS() lists them), "
    "or the REPL starts anew without them"
)


class Reserve:
    """The memory set aside by one guest."""

    def __init__(self) -> None:
        self._held: bytes | None = None
        self._is_short = False
        """It could not be set aside again after the cell before."""

    def fill(self) -> bool:
        """Set it aside, unless it is; returns whether there was room for it, and as much again for the next cell."""
        if self._held is None:
            try:
                self._held, _room = (
                    bytes(RESERVE_BYTES),
                    bytes(RESERVE_BYTES),
                )  # zeroes of the system, which touch no page
            except MemoryError:
                return False
        return True

    def release(self) -> None:
        """Give it up: memory has run out."""
        self._held = None

    def settle(self, *, ran_out: bool) -> str:
        """Set it aside again after a cell; returns what to say of memory, if the cell ran out of it. Raises:
        MemoryError: that is the second cell in a row which ran out and left no room.
        """
        if ran_out:
            self.release()
            collect()  # what the cell held in circles would starve the next one
        was_short, self._is_short = self._is_short, not self.fill()
        if ran_out and was_short and self._is_short:
            raise MemoryError
        if not ran_out:
            return ""
        return _FULL if self._is_short else _KEPT
