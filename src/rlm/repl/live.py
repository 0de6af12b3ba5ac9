"""One live guest as the host sees it: runs its cells, holds it to its time, ends it.

The guest is never trusted. A frame can settle the cell that is running and call the functions that were bound; one
that breaks a rule ends the guest. This half knows no sandbox: a channel is all it has.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLError
from rlm.core.off_loop import off_loop_if_large
from rlm.core.types import ExecError, ExecResult
from rlm.repl import deaths, frames
from rlm.repl.calls import MAX_WAITING_BYTES, CellCalls
from rlm.repl.channel import FrameParser
from rlm.repl.deaths import Death
from rlm.repl.guest.wire import VERSION, WireError
from rlm.repl.output import CellOutput, new_mark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.contexts.context import Context
    from rlm.core.types import ExecStatus, Final, Json, ReplSpec
    from rlm.repl.channel import Channel

_FRAME_DEADLINE_S = 30.0
_START_TIMEOUT_S = 60.0
_MARK_DEADLINE_S = 1.0
_AGAIN_S = (0.1, 0.4)
_PIECE_EVERY_S = 0.1
_WATCH_EVERY_S = 0.2
_LARGE_BYTES = 20_000
"""A larger frame is read off the loop."""
_MAX_THREADS = 1_024
"""No limit of the kernel counts the threads of one process; many could take all process ids of the machine."""
_BROKE_RULES = "it broke the rules of the wire (REPLSecurityError)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one cell."""

    cell_timeout_s: float = 60.0
    """Seconds of wall time, not counting waits for calls, and of CPU time."""
    kept_output_chars: int = 1_000_000
    grace_s: float = 1.0
    """Seconds from an interrupt to the kill."""
    frame_deadline_s: float = _FRAME_DEADLINE_S
    """Seconds within which a frame that has begun must be complete."""


@dataclass(slots=True, kw_only=True)
class _Cell:
    """The cell that is running."""

    id: int
    calls: CellCalls
    ended: asyncio.Future[frames.Done | None]
    """The frame that ended it; None if the guest is gone."""
    began_at: float
    cpu_at_start_s: float
    done: frames.Done | None = None
    """The frame that ended it, while its last output may still be on its way."""
    final: Final | None = None
    timeout_s: float
    timed_out: str | None = None
    interrupted: bool = False
    fault: Exception | None = None
    """An error of the host's own, to be raised and never shown to the model."""


class LiveGuest:
    """Implements `Receiver` for one channel, for as long as that guest lives."""

    def __init__(self, channel: Channel, spec: ReplSpec, limits: Limits, context: Context) -> None:
        self._channel = channel
        self._spec = spec
        self._limits = limits
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._parser = FrameParser()
        self._frame_since: float | None = None
        self._unread: deque[bytes] = deque()
        """Payloads that came, the first of which is being read off the loop."""
        self._unread_bytes = 0
        self._reading: asyncio.Task[None] | None = None
        self._output = CellOutput(limits.kept_output_chars, self._pass_on)
        self._flushing: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[frames.Ready | None] = self._loop.create_future()
        self._cell: _Cell | None = None
        self._cells = 0
        self._last_call = 0
        self._frames_s = 0.0
        self._idle_cpu_s = 0.0
        self._end_reason: str | None = None
        self._death: Death | None = None
        self.has_ended = False
        self.report: Mapping[str, str] = {}
        """Layers of confinement and Python version, as the guest says."""

    async def start(self, init: Mapping[str, Json]) -> None:
        """Introduce host and guest. Raises:
        REPLError: the guest ended or kept silent.
        """
        self._channel.attach(self)
        self._channel.send(frames.pack_init(self._spec.functions, init))
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                ready = await self._ready
        except TimeoutError as e:
            raise REPLError(f"the guest did not start within {_START_TIMEOUT_S:g} s") from e
        if ready is None:
            await self._learn_why()
            raise REPLError(f"the guest did not start: {self._output.early_text or self._why_gone}")
        self.report = ready.report
        self._idle_cpu_s = self._cpu_s()  # its start is no cell's
        self._watch()

    async def run(self, code: str, timeout_s: float | None = None) -> ExecResult:
        """Run one cell; see `Repl.execute`. Raises:
        WireError: the code is too large for a frame; the guest lives on.
        """
        cell = self._begin(code, timeout_s or self._limits.cell_timeout_s)
        try:
            await cell.ended
        except asyncio.CancelledError:
            self.kill("the cell was cancelled")
            raise
        finally:
            self._cell = None
            cell.calls.settle("the cell has ended")
            await cell.calls.finish()
            self._idle_cpu_s = self._cpu_s()
        if cell.fault is not None:
            raise cell.fault
        if cell.done is None:
            await self._learn_why()
        return self._result(cell)

    def interrupt(self, why: str) -> None:
        """Stop the cell that is running, if one is; kills the guest if it does not obey."""
        if self._cell is not None and not self._cell.ended.done() and self._cell.timed_out is None:
            self._cell.interrupted = True
            self._time_out(self._cell, why)

    def kill(self, reason: str) -> None:
        """End the guest; the first reason given is the one that is shown."""
        self._end_reason = self._end_reason or reason
        self.has_ended = True
        if self._reading is not None:
            self._reading.cancel()
        self._channel.kill()

    async def aclose(self) -> None:
        """Kill it and wait until it is gone."""
        self.kill("it was closed")
        await self._channel.wait_closed()

    async def _learn_why(self) -> None:
        """Ask how it ended, unless it was ended here or has been told."""
        if self._end_reason is None and self._death is None:
            self._death = await self._channel.death()

    @property
    def _why_gone(self) -> str:
        if self._end_reason is None:
            return deaths.words(self._death)
        return f"the sandbox was killed: {self._end_reason}"

    # What the channel calls.

    def frames_received(self, received: bytes) -> None:
        began_at = monotonic()
        try:
            for payload in self._parser.feed(received):
                self._frame_since = None  # the deadline is one frame's, however many follow without a gap
                if self._unread or len(payload) > _LARGE_BYTES:
                    self._put_off(payload)
                elif not self.has_ended:
                    self._accept(frames.read(payload, self._context))
        except WireError as e:
            self.kill(f"{_BROKE_RULES}: {e}")
        self._frames_s += monotonic() - began_at
        if not self._parser.has_begun:
            self._frame_since = None
        elif self._frame_since is None:
            self._frame_since = monotonic()

    def output_received(self, received: bytes) -> None:
        self._output.feed(received)
        if self._output.has_unsent and self._flushing is None:
            self._flushing = self._loop.call_later(_PIECE_EVERY_S, self._flush)
        if self._output.is_complete and self._cell is not None and self._cell.done is not None:
            self._end_cell()

    def closed(self) -> None:
        if self._reading is not None:
            self._reading.add_done_callback(lambda _reading: self._closed())
        else:
            self._closed()

    def _closed(self) -> None:
        self.has_ended = True
        for timer in (self._watching, self._flushing):
            if timer is not None:
                timer.cancel()
        self._end_cell()
        if not self._ready.done():
            self._ready.set_result(None)

    # Frames.

    def _put_off(self, payload: bytes) -> None:
        """Read a frame after those that are being read off the loop. Raises:
        WireError: too much would wait.
        """
        self._unread.append(payload)
        self._unread_bytes += sys.getsizeof(payload)
        if self._unread_bytes > MAX_WAITING_BYTES:
            raise WireError(f"more than {MAX_WAITING_BYTES:,} bytes of frames at one time")
        if self._reading is None:
            self._reading = self._loop.create_task(self._read())
            self._reading.add_done_callback(self._has_read)

    async def _read(self) -> None:
        """Read the frames that wait, in their order."""
        while self._unread and not self.has_ended:
            began_at = monotonic()
            received = await off_loop_if_large(frames.read, self._unread[0], self._context)
            self._frames_s += monotonic() - began_at
            self._unread_bytes -= sys.getsizeof(self._unread.popleft())
            if not self.has_ended:
                self._accept(received)

    def _has_read(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        self._unread.clear()
        self._unread_bytes = 0
        if reading.cancelled():
            return
        error = reading.exception()
        if isinstance(error, WireError):
            self.kill(f"{_BROKE_RULES}: {error}")
        elif isinstance(error, Exception):
            self._fail(error)

    def _accept(self, received: frames.Received) -> None:
        frame = received.frame
        if isinstance(frame, frames.GuestCall):
            self._accept_call(frame, received)
        elif isinstance(frame, frames.Done):
            self._accept_done(frame, received.final)
        elif isinstance(frame, frames.Gone):
            self._death = Death(cause=frame.cause, signal=frame.signal, code=frame.code)
        elif self._ready.done() or frame.v != VERSION:
            raise WireError(f"an unexpected ready, version {frame.v}")
        else:
            self._ready.set_result(frame)

    def _accept_call(self, call: frames.GuestCall, received: frames.Received) -> None:
        if self._cell is None or self._cell.done is not None:
            raise WireError("a call while no cell runs")
        if call.id <= self._last_call:
            raise WireError(f"the call id {call.id} was used before")
        self._last_call = call.id
        self._cell.calls.accept(call, received)

    def _accept_done(self, done: frames.Done, final: Final | None) -> None:
        cell = self._cell
        if cell is None or cell.done is not None or done.id != cell.id:
            raise WireError("the end of a cell that does not run")
        cell.final = final
        cell.done = done
        self._channel.drain_output()
        if self._output.is_complete:
            self._end_cell()
        else:
            self._loop.call_later(_MARK_DEADLINE_S, self._end_if_running, cell)

    # The cell.

    def _begin(self, code: str, timeout_s: float) -> _Cell:
        mark = new_mark()
        frame = frames.pack_exec(self._cells + 1, code, mark)
        self._cells += 1
        cell = self._cell = _Cell(
            id=self._cells,
            calls=CellCalls(self._spec, send=self._channel.send, on_fault=self._fail),
            ended=self._loop.create_future(),
            began_at=monotonic(),
            cpu_at_start_s=self._cpu_s(),
            timeout_s=timeout_s,
        )
        self._output.begin(mark)
        self._channel.send(frame)
        return cell

    def _end_if_running(self, cell: _Cell) -> None:
        if cell is self._cell:
            self._end_cell()

    def _end_cell(self) -> None:
        cell = self._cell
        if cell is None or cell.ended.done():
            return
        if not self._output.is_complete:
            self._output.end()
        if cell.timed_out is not None and cell.done is not None and cell.done.threads > 0:
            self.kill("threads of the cell went on after its timeout")
        cell.ended.set_result(cell.done)

    def _fail(self, error: Exception) -> None:
        if self._cell is not None:
            self._cell.fault = self._cell.fault or error
        self.kill("the host failed")

    def _result(self, cell: _Cell) -> ExecResult:
        status, error = self._verdict(cell)
        return ExecResult(
            status=status,
            output=self._output.text,
            output_chars=self._output.total_chars,
            duration_s=monotonic() - cell.began_at,
            error=error,
            final=cell.final,
            changed=() if cell.done is None else frames.names(cell.done.changed),
            state_reset=self.has_ended,
        )

    def _verdict(self, cell: _Cell) -> tuple[ExecStatus, ExecError | None]:
        error = None if cell.done is None or cell.done.error is None else frames.exec_error(cell.done.error)
        if cell.timed_out is not None and (error is not None or self.has_ended):
            traceback = "" if error is None else error.traceback
            kind = "KeyboardInterrupt" if cell.interrupted else "TimeoutError"
            status: ExecStatus = "interrupted" if cell.interrupted else "timeout"
            return status, ExecError(kind=kind, message=cell.timed_out, traceback=traceback)
        if cell.done is None:
            return "killed", ExecError(kind="SandboxKilled", message=self._why_gone, traceback="")
        return ("ok", None) if error is None else ("error", error)

    # Time.

    def _cpu_s(self) -> float:
        """CPU time of the guest, and what its frames took of the host's: a flood of them must not be free."""
        return (self._channel.cpu_s() or 0.0) + self._frames_s

    def _watch(self) -> None:
        """Look at the clocks; goes on between cells, for threads may go on too."""
        if self.has_ended:
            return
        cell = self._cell
        if self._frame_since is not None and monotonic() - self._frame_since > self._limits.frame_deadline_s:
            self.kill(f"{_BROKE_RULES}: a frame stayed incomplete for {self._limits.frame_deadline_s:g} s")
        elif (self._channel.threads() or 0) > _MAX_THREADS:
            self.kill(f"it had more than {_MAX_THREADS:,} threads")
        elif cell is not None and not cell.ended.done() and cell.timed_out is None:
            self._watch_cell(cell)
        elif cell is None and self._cpu_s() - self._idle_cpu_s > self._limits.cell_timeout_s:
            self.kill("threads that a cell left behind used too much CPU time")
        delay_s = min(_WATCH_EVERY_S, self._limits.cell_timeout_s / 10)
        self._watching = self._loop.call_later(delay_s, self._watch)

    def _watch_cell(self, cell: _Cell) -> None:
        limit_s = cell.timeout_s
        if monotonic() - cell.began_at - cell.calls.waited_s > limit_s:
            self._time_out(cell, f"the cell ran longer than {limit_s:g} s and was stopped")
        elif self._cpu_s() - cell.cpu_at_start_s > limit_s:
            self._time_out(cell, f"the cell used more than {limit_s:g} s of CPU time and was stopped")

    def _time_out(self, cell: _Cell, message: str) -> None:
        cell.timed_out = message
        self._channel.interrupt()  # first: errors of calls would lead the cell out of what its interrupt should end
        cell.calls.settle(message)
        for again_s in _AGAIN_S:
            self._loop.call_later(again_s, self._interrupt_if_running, cell)
        self._loop.call_later(self._limits.grace_s, self._kill_if_running, cell)

    def _interrupt_if_running(self, cell: _Cell) -> None:
        """Interrupt again, for a cell that had not begun; one that had gets no second KeyboardInterrupt."""
        if not cell.ended.done():
            self._channel.interrupt()

    def _kill_if_running(self, cell: _Cell) -> None:
        if not cell.ended.done():
            self.kill("it did not obey an interrupt")

    # Output.

    def _flush(self) -> None:
        self._flushing = None
        self._output.flush()

    def _pass_on(self, piece: str) -> None:
        try:
            self._spec.on_output(piece)
        except Exception as e:  # noqa: BLE001 - a fault of the host: raised from `run`
            self._fail(e)
