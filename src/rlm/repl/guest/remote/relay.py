"""Process 1 of a guest on another machine: carries bytes between the host and its child, and ends with the host.

As in a container, the guest never sees the host's stdin; here it doesn't see the host's stdout either, so what this
process says of it (what CPU time it uses, how it ended) is not the guest's to forge. Where it has a namespace of
process ids, the kernel ends all others with it; else it ends its process group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest import kernel
from rlm.repl.guest.remote import serving, upward
from rlm.repl.guest.supervisor import Incoming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.repl.guest.linux.confine import Layer

_STDIN = 0
_READ_BYTES = 1 << 16
_WAITING_BYTES = 8 << 20
"""How much the guest may leave unread before no more is taken from the host."""
_LEASES_UNREAD = 10
"""How many leases a guest may leave so much unread: the host can't be heard meanwhile."""
_METER_S = 0.25
_METER_STEP_S = 0.02
_METER_STEP_THREADS = 50
_CPU_CLOCK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a guest is started with."""

    settings: Mapping[str, Any]
    given: int
    """The descriptor of its context, where that is held; -1 where it is to be sent."""
    namespaces: Layer


def main(to_host: upward.Upward, plan: Plan) -> NoReturn:
    """Start the guest and serve it until the host or the guest goes."""
    kernel.die_with_parent(os.getppid())
    kernel.set_no_new_privileges()
    pipes = [os.pipe() for _ in range(3)]
    (frames_in, to_child), (frames, frames_out), (output, output_out) = pipes
    child = os.fork()
    if child == 0:
        serving.main((frames_in, frames_out, output_out), plan.given, plan.settings, plan.namespaces)
    kernel.set_undumpable()
    for descriptor in (frames_in, frames_out, output_out, *([plan.given] if plan.given >= 0 else [])):
        os.close(descriptor)
    _let_go_of_output()
    guest = Guest(pid=child, to_child=to_child, frames=frames, output=output)
    try:
        Relay(guest, to_host, plan.settings["lease_s"]).run()
    finally:
        _end(plan.namespaces)


def _end(namespaces: Layer) -> NoReturn:
    """End all that was started: with a namespace of their own, the kernel ends the others with this process."""
    if not namespaces.active:
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _let_go_of_output() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The child, and the pipes to and from it."""

    pid: int
    to_child: int
    frames: int
    output: int

    def cpu_s(self) -> float:
        """The CPU time that it has used."""
        try:
            return time.clock_gettime((~self.pid << 3) | _CPU_CLOCK)  # clock_getcpuclockid(3)
        except OSError:  # it ends just now
            return 0.0

    def find_threads(self) -> str:
        """The folder that has an entry for each thread of it; empty where that can't be seen. /proc may show another
        namespace, and so other ids.
        """
        own = f"/proc/self/task/{os.readlink('/proc/thread-self').rpartition('/')[2]}/children"
        try:
            with open(own, encoding="ascii") as children:
                return f"/proc/{children.read().split()[0]}/task"
        except (OSError, IndexError):
            return ""


class Relay:
    """Waits for the host, the child and its two pipes at once; blocks on none of them."""

    def __init__(self, guest: Guest, to_host: upward.Upward, lease_s: float) -> None:
        self._guest = guest
        self._to_host = to_host
        self._lease_s = lease_s
        self._heard_at = time.monotonic()
        self._answered_at = 0.0
        self._heard_bytes = self._answered_bytes = 0
        self._told_cpu_s = 0.0
        self._told_threads = 0
        self._threads = guest.find_threads()
        self._woken, waking = os.pipe()
        for descriptor in (_STDIN, guest.to_child, guest.frames, guest.output, self._woken, waking):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # it wakes the poll
        self._incoming = Incoming()
        self._waiting: deque[memoryview | None] = deque()
        """What the child has no room for yet, in order; None stands for an interrupt."""
        self._waiting_bytes = 0
        self._open = {guest.output: upward.OUTPUT, guest.frames: upward.FRAMES}

    def run(self) -> None:
        """Return when the host has gone or the guest has ended."""
        with contextlib.suppress(_HostGone, OSError):
            while self._is_leased():
                if self._turn():
                    return

    def _is_leased(self) -> bool:
        patience = _LEASES_UNREAD if self._waiting_bytes > _WAITING_BYTES else 1
        return time.monotonic() - self._heard_at < self._lease_s * patience

    def _turn(self) -> bool:
        """Do what can be done now, or wait a moment; True once the guest has ended."""
        poll = select.poll()
        may_hear = self._waiting_bytes <= _WAITING_BYTES
        poll.register(_STDIN, select.POLLIN if may_hear else select.POLLRDHUP)
        poll.register(self._woken, select.POLLIN)
        if self._waiting:
            poll.register(self._guest.to_child, select.POLLOUT)
        if self._to_host.is_waiting:
            poll.register(self._to_host.descriptor, select.POLLOUT)
        else:
            for descriptor in self._open:
                poll.register(descriptor, select.POLLIN)
        ready = dict(poll.poll(_METER_S * 1000))
        if _STDIN in ready:
            self._hear(may_hear=may_hear)
        self._pass_on()
        self._to_host.flush()
        for descriptor in [fd for fd in self._open if fd in ready]:  # output first: what a cell printed before its end
            self._carry_up(descriptor)
        self._meter()
        self._to_host.flush()
        return self._woken in ready and self._has_ended()

    def _hear(self, *, may_hear: bool) -> None:
        if not may_hear:  # its end was reported
            raise _HostGone
        try:
            received = os.read(_STDIN, 1 << 20)
        except BlockingIOError:
            return
        if not received:
            raise _HostGone
        self._heard_at = time.monotonic()
        self._heard_bytes += len(received)
        for item in self._incoming.feed(received):
            if item is None or item:
                self._waiting.append(item)
                self._waiting_bytes += 0 if item is None else len(item)
        unanswered = self._heard_bytes - self._answered_bytes
        if self._heard_at - self._answered_at > upward.ANSWER_S or unanswered > upward.ANSWER_BYTES:
            self._tell_use()

    def _pass_on(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._waiting:
                item = self._waiting[0]
                if item is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._guest.pid, signal.SIGINT)
                else:
                    written = os.write(self._guest.to_child, item)
                    self._waiting_bytes -= written
                    if written < len(item):
                        self._waiting[0] = item[written:]
                        continue
                self._waiting.popleft()

    def _carry_up(self, descriptor: int) -> bool:
        """Put the next piece of a stream; False where there is none now."""
        try:
            piece = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if piece:
            self._to_host.put(self._open[descriptor], piece)
        else:
            del self._open[descriptor]
        return bool(piece)

    def _meter(self) -> None:
        cpu_s, threads = self._guest.cpu_s(), self._count_threads()
        if cpu_s - self._told_cpu_s > _METER_STEP_S or threads - self._told_threads > _METER_STEP_THREADS:
            self._told_cpu_s, self._told_threads = cpu_s, threads
            self._tell_use()

    def _count_threads(self) -> int:
        try:
            return os.stat(self._threads).st_nlink - 2 if self._threads else 0
        except OSError:  # it ends just now, or /proc hides it
            return 0

    def _tell_use(self) -> None:
        self._answered_at, self._answered_bytes = self._heard_at, self._heard_bytes
        self._to_host.note(t="used", cpu_s=self._told_cpu_s, threads=self._told_threads, heard_bytes=self._heard_bytes)

    def _has_ended(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 1024)
        status = None
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._guest.pid:
                    status = os.waitstatus_to_exitcode(ended[1])
        if status is None:
            return False
        for descriptor in list(self._open):
            while self._carry_up(descriptor):
                self._to_host.finish()
        self._to_host.note(t="gone", signal=max(-status, 0), code=status if status >= 0 else None)
        self._to_host.finish()
        return True


class _HostGone(Exception):
    """The host has ended the line."""
