"""What Ctrl-C and the signals that end a process do: the first asks the work to land, the second ends it at once.

Sandboxes die with the host, so the hard way out leaves none behind.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal came while there was nothing to land."""


class Signals:
    """In its `with` block, signals go here; a signal that the caller ignores stays ignored."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.land: Callable[[], bool] = bool
        """Asked at the first signal to land the work; False: there is none, and `Interrupted` is raised."""
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def exit_code(self) -> int:
        return 128 + (self.received or signal.SIGINT)

    def __enter__(self) -> Signals:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            _leave(128 + number)
        self.received = number
        if not self.land():
            raise Interrupted


def _leave(code: int) -> None:
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)
    os._exit(code)
