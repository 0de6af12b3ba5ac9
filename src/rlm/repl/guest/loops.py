"""An asyncio event loop that needs no socket: it wakes itself through a pipe, since a guest may make no socket call."""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import Any


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


def install() -> None:
    """Make `asyncio.run` use such loops."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # policies go in Python 3.16
        base: Any = asyncio.get_event_loop_policy().__class__
        policy = type("PipeLoopPolicy", (base,), {"_loop_factory": PipeLoop})
        asyncio.set_event_loop_policy(policy())
