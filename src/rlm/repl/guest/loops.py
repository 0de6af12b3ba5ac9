"""Asyncio event loops for guests, which may make no socket call: one wakes itself through a pipe, and one, for a Python
without threads and without a blocking poll, has nobody who could wake it."""

from __future__ import annotations

import asyncio
import os
import time
import warnings
from typing import Any

_LONGEST_S = 3600.0


class PipeLoop(asyncio.SelectorEventLoop):
    """The ordinary selector loop, but for how another thread wakes it."""

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
    """Stands in for a selector: no event ever comes, so waiting for one is sleeping."""

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None or timeout > 0:
            time.sleep(_LONGEST_S if timeout is None else timeout)
        return []


class SleepingLoop(asyncio.BaseEventLoop):
    """A loop with timers, tasks and futures, but no descriptors and no threads."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Sleeper()

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
