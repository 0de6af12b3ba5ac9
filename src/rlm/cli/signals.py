"""What Ctrl-C and the signals that end a process do: the first asks the work to land, the second ends it at once.

Work runs on an event loop of the main thread, which a signal wakes whichever thread the system gave it to. Sandboxes
die with the host, so ending at once leaves none behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal came while there was nothing to land."""


def never_lands() -> bool:
    """For work that has nothing to land: it is cancelled instead."""
    return False


class Signals:
    """Receives signals within its `with` block; a signal that was ignored before stays ignored."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        return 128 + (self.received or signal.SIGINT)

    def exit_code_of(self, command: Callable[[], int]) -> int:
        """Run a command; where a signal ended it with nothing to land, say so, and exit by that signal's code."""
        from rlm.cli.console import complain

        try:
            return command()
        except Interrupted:
            complain("interrupted")
            return self.exit_code

    def run(self, work: Coroutine[Any, Any, T], land: Callable[[], bool] = never_lands) -> T:
        """Run `work` to its end; at the first signal `land` asks it to end early, and says whether it will.

        Raises:
            Interrupted: the work could not land, and was cancelled.
        """
        try:
            return asyncio.run(self._heard(work, land))
        except asyncio.CancelledError:
            raise Interrupted from None

    async def _heard(self, work: Coroutine[Any, Any, T], land: Callable[[], bool]) -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

        def receive(number: int) -> None:
            if not self._is_first(number):
                _leave(128 + number)
            if not land():
                task.cancel()

        for number in self._before:
            loop.add_signal_handler(number, receive, number)
        try:
            return await task
        finally:
            for number in self._before:
                loop.remove_signal_handler(number)
                signal.signal(number, self._receive)

    def __enter__(self) -> Signals:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if not self._is_first(number):
            _leave(128 + number)
        raise Interrupted

    def _is_first(self, number: int) -> bool:
        first = self.received is None
        self.received = self.received or number
        return first


def _leave(code: int) -> None:
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)
    os._exit(code)
