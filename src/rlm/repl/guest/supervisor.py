"""Process 1 of a container: starts the guest as its child, carries the host's frames to it, and ends with the host.

The guest never sees the container's stdin, so it can't keep that open: when the host goes, however it goes, stdin ends,
and this process exits, which ends every other one. No guest code runs here, and none can reach in: it is undumpable.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import NoReturn

from rlm.repl.guest import kernel
from rlm.repl.guest.wire import HEADER, pack

INTERRUPT = 1
"""The kind of a header, with nothing after it, that stands between two frames and becomes a SIGINT for the guest: so an
interrupt can't come late and hit the next cell."""
BEAT = 3
"""The kind of a header, with nothing after it, by which a host far away shows that it is there; no guest is told."""
_STDIN = 0
_BLOCK_BYTES = 1 << 20
_ACCOUNTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""The files that count kills for want of memory in the container's control group, in both versions."""
_END_MS = 500
_SIGNALLED = 128
_NO_TIME_LEFT = 124


def main(ttl_s: float) -> NoReturn:
    """Run until the host goes, the guest ends, or `ttl_s` seconds have passed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.prefer_as_victim()
    kernel.set_no_new_privileges()
    kernel.set_undumpable()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        from rlm.repl.guest import contained  # here alone: process 1 needs none of it

        contained.main(reading)
    os.close(reading)
    to_host = os.dup(1)
    _let_go_of_output()
    Supervisor(child, writing, to_host, time.monotonic() + ttl_s).run()


def _let_go_of_output() -> None:
    """Keep what this process might print out of the output of cells."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


class Supervisor:
    """Waits for stdin, signals, the child and the deadline at once; never blocks on a child that does not read."""

    def __init__(self, child: int, to_child: int, to_host: int, deadline: float) -> None:
        self._child = child
        self._to_child = to_child
        self._to_host = to_host
        self._deadline = deadline
        self._woken, waking = os.pipe()
        for descriptor in (_STDIN, to_child, self._woken, waking):
            os.set_blocking(descriptor, False)
        with contextlib.suppress(OSError):  # only faster
            fcntl.fcntl(to_child, fcntl.F_SETPIPE_SZ, _BLOCK_BYTES)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # it wakes the poll
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(_SIGNALLED + signal.SIGTERM))
        self._incoming = Incoming()
        self._waiting: deque[memoryview | None] = deque()
        """What the child has no room for yet, in order; None stands for an interrupt."""

    def run(self) -> NoReturn:
        """Never returns; the kernel kills what is left of the container with this process."""
        try:
            while (left_s := self._deadline - time.monotonic()) > 0:
                self._turn(left_s)
            self._tell("time", 0, None)
            os._exit(_NO_TIME_LEFT)
        finally:
            os._exit(1)

    def _turn(self, left_s: float) -> None:
        poll = select.poll()
        poll.register(_STDIN, 0 if self._waiting else select.POLLIN)
        poll.register(self._to_child, select.POLLOUT if self._waiting else 0)
        poll.register(self._woken, select.POLLIN)
        for descriptor, events in poll.poll(min(left_s, 3600.0) * 1000):
            if descriptor == self._woken:
                self._reap()
            elif descriptor == self._to_child and events & select.POLLERR:
                self._end()
            elif descriptor == _STDIN and events & select.POLLHUP:
                os._exit(0)  # the host has gone: what it said last does not matter
            else:
                self._carry()

    def _carry(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if not self._waiting:
                self._waiting.extend(self._incoming.feed(_read(_STDIN)))
            while self._waiting:
                self._pass_on(self._waiting[0])

    def _pass_on(self, item: memoryview | None) -> None:
        if item is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGINT)
        elif item:
            self._waiting[0] = item[os.write(self._to_child, item) :]
            return
        self._waiting.popleft()

    def _end(self) -> NoReturn:
        """The guest has closed its end: most likely it is just ending, and it is worth a moment to learn how."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.poll(_END_MS)
        self._reap()
        os._exit(0)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 1024)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._child:
                    self._tell_end(os.waitstatus_to_exitcode(ended[1]))
                    os._exit(0)

    def _tell_end(self, status: int) -> None:
        """Tell how the guest ended: by a signal, which is negative here, or with an exit code."""
        if status >= 0:
            self._tell("", 0, status)
        else:
            self._tell("memory" if -status == signal.SIGKILL and _was_short_of_memory() else "", -status, None)

    def _tell(self, cause: str, number: int, code: int | None) -> None:
        """Send the last frame, unless the host does not read: nothing here may wait for it."""
        poll = select.poll()
        poll.register(self._to_host, select.POLLOUT)
        with contextlib.suppress(OSError):
            if any(event == select.POLLOUT for _descriptor, event in poll.poll(0)):
                os.write(self._to_host, pack({"t": "gone", "cause": cause, "signal": number, "code": code}))


class Incoming:
    """Tells the host's messages to this process, headers of kinds INTERRUPT and BEAT, from what is for the guest."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0

    def feed(self, received: bytes) -> list[memoryview | None]:
        """What is to be passed on, cut where an interrupt (None) stands between two frames."""
        found: list[memoryview | None] = []
        passed = bytearray()
        rest = memoryview(received)
        while rest:
            if self._left:
                piece, rest = rest[: self._left], rest[self._left :]
                passed += piece
                self._left -= len(piece)
                continue
            missing = HEADER.size - len(self._header)
            self._header += bytes(rest[:missing])
            rest = rest[missing:]
            if len(self._header) == HEADER.size:
                self._left, kind = HEADER.unpack(self._header)
                if kind == INTERRUPT:
                    found += [memoryview(bytes(passed)), None]
                    passed.clear()
                elif kind != BEAT:
                    passed += self._header
                self._header = b""
        return [*found, memoryview(bytes(passed))]


def _was_short_of_memory() -> bool:
    """Whether the kernel has ended a process of this container for want of memory."""
    for path in _ACCOUNTS:
        with contextlib.suppress(OSError, ValueError, IndexError):
            count = path.read_text(encoding="ascii").partition("oom_kill ")[2].split()[0]
            return int(count) > 0
    return False


def _read(descriptor: int) -> bytes:
    """Read what has come; the end of the stream ends everything."""
    return os.read(descriptor, _BLOCK_BYTES) or os._exit(0)
