"""When an interrupt may become a KeyboardInterrupt: in the code of a cell, never inside the wire.

Only the main thread runs signal handlers. A torn frame would cost the whole sandbox, so a signal that arrives while
the main thread is inside the wire waits until it leaves.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # in C: the wrapper in `signal` looks builtins up at call time
import builtins
import signal
from _thread import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_install = _signal.signal
_SIGINT = int(signal.SIGINT)
_set_timer = getattr(_signal, "setitimer", None)
_TIMERS = (0, 1, 2)
"""ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF."""


class Interrupts:
    """Raises KeyboardInterrupt at most once per cell."""

    def __init__(self) -> None:
        self._main = get_ident()
        self._depth = 0
        self._armed = False
        self._pending = False

    def arm(self) -> None:
        """A cell begins: from here a signal raises."""
        _install(_SIGINT, self._on_signal)
        self._pending = False
        self._armed = True

    def disarm(self) -> None:
        """The cell has ended: a signal that comes late changes nothing, and a timer it set strikes no other cell."""
        self._armed = False
        if _set_timer is not None:
            for timer in _TIMERS:
                _set_timer(timer, 0.0)

    def shield(self) -> None:
        """From here signals wait; calls nest."""
        if get_ident() == self._main:
            self._depth += 1

    def unshield(self) -> None:
        """Undo one `shield`; raises KeyboardInterrupt if a signal waited."""
        if get_ident() != self._main:
            return
        self._depth -= 1
        if self._pending and not self._depth:
            self._on_signal(_SIGINT, None)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._depth:
            self._pending = True
        elif self._armed:
            self._armed = self._pending = False
            raise KeyboardInterrupt
