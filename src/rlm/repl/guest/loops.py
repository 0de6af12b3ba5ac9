"""Asyncio event loops for guests, which may make no socket call: one wakes itself through a pipe, and one, for a Python
without threads and without a blocking poll, has nobody who could wake it."""

from __future__ import annotations

import asyncio
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm.repl.guest.link import Link

_LONGEST_S = 3600.0


class PipeLoop(asyncio.SelectorEventLoop):
    """The ordinary selector loop, but for how another thread wakes it."""

    _watched = 0

    def watch(self, link: Link) -> None:
        """Read frames as they come, while somebody awaits one; each call needs an `unwatch`."""
        if not self._watched:
            self.add_reader(link.fileno(), lambda: link.read_one(only_ready=True))
        self._watched += 1

    def unwatch(self, link: Link) -> None:
        """Undo one `watch`."""
        self._watched -= 1
        if not self._watched and not self.is_closed():
            self.remove_reader(link.fileno())

    def _make_self_pipe(self) -> None:
        self._wake_reading, self._wake_writing = os.pipe()
        os.set_blocking(self._wake_reading, False)
        os.set_blocking(self._wake_writing, False)
        self._internal_fds: int = getattr(self, "_internal_fds", 0) + 1
        self._add_reader(self._wake_reading, self._drain)  # type: ignore[attr-defined]

    def _close_self_pipe(self) -> None:
        self._remove_reader(self._wake_reading)  # type: ignore[attr-defined]
        os.close(self._wake_reading)
        os.close(self._wake_writing)
        self._ssock = self._csock = None
        self._internal_fds -= 1

    def _drain(self) -> None:
        while True:
            try:
                if not os.read(self._wake_reading, 4096):
                    return
            except BlockingIOError:
                return

    def _write_to_self(self) -> None:
        try:
            os.write(self._wake_writing, b"\0")
        except BlockingIOError:  # full: it will wake anyway
            return
        except OSError:  # the loop was closed meanwhile
            return


class _Sleeper:
    """Stands in for a selector: no event ever comes, so waiting for one is sleeping. Where a frame is awaited, it is
    reading that, and a timer waits for the frame.
    """

    def __init__(self) -> None:
        self.awaited: list[Link] = []

    def select(self, timeout: float | None) -> list[Any]:
        if self.awaited and timeout != 0:
            self.awaited[-1].read_one(only_ready=False)
        elif timeout is None or timeout > 0:
            time.sleep(_LONGEST_S if timeout is None else timeout)
        return []


class SleepingLoop(asyncio.BaseEventLoop):
    """A loop with timers, tasks and futures, but no descriptors and no threads."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Sleeper()

    def watch(self, link: Link) -> None:
        """Read a frame where there is nothing else to do; each call needs an `unwatch`."""
        self._selector.awaited.append(link)

    def unwatch(self, _link: Link) -> None:
        """Undo one `watch`."""
        self._selector.awaited.pop()

    def _process_events(self, _events: list[Any]) -> None:
        return None

    def _write_to_self(self) -> None:
        return None


def install(loop: type[asyncio.BaseEventLoop] = PipeLoop) -> None:
    """Make `asyncio.run` use such loops."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies go in Python 3.16
        policy = type(f"{loop.__name__}Policy", (asyncio.DefaultEventLoopPolicy,), {"_loop_factory": loop})
        asyncio.set_event_loop_policy(policy())
