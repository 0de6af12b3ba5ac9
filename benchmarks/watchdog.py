"""Watches event loops: the CPU time of each piece of work that a loop does without doing anything else meanwhile, and
where the longest ones spend it.

A sampling thread looks at a loop's stack while a piece is long, for the loop itself can't. A full collection of garbage
falls into a piece by chance and takes as long as the whole process is large, so its time is counted apart.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

SAMPLE_S = 0.01
LONG_S = 0.03
"""A piece whose stack is looked at."""
KEPT = 10


@dataclass(kw_only=True)
class Piece:
    """One piece of work."""

    what: str
    cpu_s: float
    stack: tuple[str, ...] = ()
    """Where it was when last looked at, the project's own frames, innermost last."""


@dataclass(kw_only=True)
class _Current:
    """The piece that a thread is at."""

    clock: int
    began_s: float
    collected_s: float = 0.0
    """The part that went to collections of garbage."""
    stack: tuple[str, ...] = ()


@dataclass
class Watchdog:
    """What was seen."""

    aside: frozenset[str] = frozenset()
    """The names of callbacks that are no work of the loop's."""
    longest: list[Piece] = field(default_factory=list)
    """The longest pieces, the longest first."""
    pieces: int = 0
    longest_collection_s: float = 0.0
    _collecting_since_s: float = 0.0
    _current: dict[int, _Current] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def longest_ms(self) -> float:
        return self.longest[0].cpu_s * 1e3 if self.longest else 0.0

    def lines(self, least_ms: float) -> list[str]:
        """The pieces that took longer than that, each with where it was."""
        pieces = [piece for piece in self.longest if piece.cpu_s * 1e3 > least_ms]
        return [f"{piece.cpu_s * 1e3:6.0f} ms  {piece.what}\n    {' > '.join(piece.stack)}" for piece in pieces]

    def took(self, handle: asyncio.Handle, run: object) -> None:
        """Run a handle of a loop, and note what it took."""
        thread, clock = threading.get_ident(), time.pthread_getcpuclockid(threading.get_ident())
        current = self._current[thread] = _Current(clock=clock, began_s=time.clock_gettime(clock))
        try:
            run(handle)  # type: ignore[operator]
        finally:
            del self._current[thread]
            self._note(handle, time.clock_gettime(clock) - current.began_s - current.collected_s, current.stack)

    def collecting(self, phase: str, _info: object) -> None:
        """Note when a collection begins and what it took; it runs in the thread whose piece it interrupts."""
        current = self._current.get(threading.get_ident())
        if phase == "start" or current is None:
            self._collecting_since_s = time.thread_time()
            return
        took_s = time.thread_time() - self._collecting_since_s
        current.collected_s += took_s
        self.longest_collection_s = max(self.longest_collection_s, took_s)

    def _note(self, handle: asyncio.Handle, cpu_s: float, stack: tuple[str, ...]) -> None:
        what = _named(handle)
        if what in self.aside:
            return
        self.pieces += 1
        if len(self.longest) == KEPT and cpu_s <= self.longest[-1].cpu_s:
            return
        self.longest.append(Piece(what=what, cpu_s=cpu_s, stack=stack))
        self.longest.sort(key=lambda piece: -piece.cpu_s)
        del self.longest[KEPT:]

    def sample(self) -> None:
        """Look at long pieces until `stop`."""
        while not self._ended.wait(SAMPLE_S):
            frames = sys._current_frames()
            for thread, current in list(self._current.items()):
                if thread in frames and time.clock_gettime(current.clock) - current.began_s > LONG_S:
                    current.stack = _stack(frames[thread])

    def stop(self) -> None:
        self._ended.set()


@contextmanager
def watching(*aside: str) -> Iterator[Watchdog]:
    """Watch every loop of this process for as long as this lasts, but for the callbacks that are named."""
    dog, run = Watchdog(aside=frozenset(aside)), asyncio.Handle._run
    sampler = threading.Thread(target=dog.sample, name="watchdog", daemon=True)
    asyncio.Handle._run = lambda handle: dog.took(handle, run)  # type: ignore[method-assign, assignment]
    gc.callbacks.append(dog.collecting)
    sampler.start()
    try:
        yield dog
    finally:
        gc.callbacks.remove(dog.collecting)
        asyncio.Handle._run = run  # type: ignore[method-assign]
        dog.stop()
        sampler.join()


def _named(handle: asyncio.Handle) -> str:
    """What a handle does: the coroutine of its task, or its callback."""
    callback = handle._callback  # type: ignore[attr-defined]
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return getattr(task.get_coro(), "__qualname__", repr(task.get_coro()))
    return getattr(callback, "__qualname__", repr(callback))[:100]


def _stack(frame: FrameType) -> tuple[str, ...]:
    entries = traceback.extract_stack(frame)
    own = [entry for entry in entries if "/rlm/" in entry.filename or "/tests/" in entry.filename]
    return tuple(f"{entry.filename.rpartition('/')[2]}:{entry.lineno} {entry.name}" for entry in (own or entries)[-6:])
