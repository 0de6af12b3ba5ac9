"""The guest's end of the wire, used by every thread of a cell at once.

There is no reader thread: among the threads that wait, one leads. It reads frames, hands each to the thread it is for,
and passes the lead on when its own has come. Guest code may have broken any Python-level module, so only raw locks
and names bound at import are used. The end of the stream ends the process.
"""

from __future__ import annotations

import builtins
import os
from _thread import allocate_lock
from select import select as _select
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rlm.repl.guest.wire import HEADER, MAX_CALLS, WireError, pack_for_host, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.repl.guest.interrupts import Interrupts

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_COMMANDS = 0
_HEAD_BYTES = 64
_SKIP_BYTES = 1 << 16
_TOO_LARGE = {"kind": "MemoryError", "message": "the answer does not fit into the memory of this REPL"}
_REPLY = b'{"t":"reply"'
_Buffer = TypeVar("_Buffer", bytearray, memoryview)
_exit, _getpid, _readv, _write, _set_blocking = os._exit, os.getpid, os.readv, os.write, os.set_blocking


class Transport(Protocol):
    """Bytes to and from the host, however a sandbox carries them."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill some of the buffer and return how many bytes; 0 is the end of the stream."""
        ...

    def write(self, frame: bytes) -> None:
        """Write all of the bytes."""
        ...

    def fileno(self) -> int:
        """The descriptor that is read from."""
        ...


class DescriptorTransport:
    """A transport over file descriptors; no socket call is made on them. Guest code may have told them not to block,
    so an operation that would have to wait makes its descriptor wait again.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing

    def read_into(self, buffer: memoryview) -> int:
        while True:
            try:
                return _readv(self._reading, [buffer])
            except BlockingIOError:
                _set_blocking(self._reading, True)

    def write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            try:
                rest = rest[_write(self._writing, rest) :]
            except BlockingIOError:
                _set_blocking(self._writing, True)

    def fileno(self) -> int:
        return self._reading


class _Slot:
    """The place where one waiting thread gets its frame; `wake` is held while there is nothing for it."""

    def __init__(self, arrived: Callable[[], None] | None = None) -> None:
        """`arrived` is called when there is something, where no thread waits for it."""
        self.frames: list[dict[str, Any]] = []
        self.arrived = arrived
        self.is_waiting = False
        self.wake = allocate_lock()
        self.wake.acquire()

    def rouse(self) -> None:
        if self.arrived is not None:
            self.arrived()
        elif self.wake.locked():
            self.wake.release()


class Link:
    """Sends calls and results, and waits for replies and commands."""

    def __init__(self, transport: Transport, interrupts: Interrupts) -> None:
        self._transport = transport
        self._pid = _getpid()
        self._interrupts = interrupts
        self._sending = allocate_lock()
        self._state = allocate_lock()
        self._leading = False
        self._slots = {_COMMANDS: _Slot()}
        self._calls = 0
        self._unread = 0
        self._in_cell = False

    def next_command(self) -> dict[str, Any]:
        """Wait for the next frame that is not a reply; the main thread alone calls this."""
        self._interrupts.shield()
        try:
            frame = self._wait(self._slots[_COMMANDS])
        finally:
            self._interrupts.unshield()
        self._in_cell = frame.get("t") == "exec"
        return frame

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a frame that is not a call; after `done` no call can be made. Raises:
        WireError: it is too large, and nothing was sent.
        """
        self._interrupts.shield()
        try:
            frame = pack_for_host(message)
            with self._sending:
                self._in_cell = self._in_cell and message["t"] != "done"
                self._transport.write(frame)
        finally:
            self._interrupts.unshield()

    def call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Call a host function and wait for the reply frame, whatever other threads do. Raises:
        RuntimeError: no cell runs, too many calls wait, or this is a process that a cell has forked.
        WireError: the arguments are too large.
        """
        self._interrupts.shield()
        try:
            message = {"t": "call", "id": 0, "name": name, "args": args, "kwargs": kwargs}
            number = self._start_call(message, _Slot())
            try:
                return self._wait(self._slots[number])
            finally:
                with self._state:
                    del self._slots[number]
        finally:
            self._interrupts.unshield()

    def begin(self, name: str, args: list[Any], kwargs: dict[str, Any], arrived: Callable[[], None]) -> int:
        """Call a host function without waiting, and give the number of the call; `arrived` is called when its reply is
        there, by the thread that read it. Raises as `call` does.
        """
        self._interrupts.shield()
        try:
            message = {"t": "call", "id": 0, "name": name, "args": args, "kwargs": kwargs}
            return self._start_call(message, _Slot(arrived))
        finally:
            self._interrupts.unshield()

    def take(self, number: int) -> dict[str, Any]:
        """The reply of a call that was begun, once it has arrived."""
        return self._slots[number].frames.pop(0)

    def forget(self, number: int) -> None:
        """Wait no longer for a call that was begun."""
        with self._state:
            self._slots.pop(number, None)

    def fileno(self) -> int:
        """The descriptor that can be read from when a frame is there."""
        return self._transport.fileno()

    def read_one(self, *, only_ready: bool) -> None:
        """Read a frame and hand it to whom it is for, unless another thread is at it, or it isn't there yet."""
        self._interrupts.shield()
        try:
            if self._take_lead():
                try:
                    if not only_ready or _is_ready(self._transport.fileno()):
                        self._deliver(self._read_frame())
                finally:
                    with self._state:
                        self._leading = False
                    self._offer_lead()
        finally:
            self._interrupts.unshield()

    def _start_call(self, message: dict[str, Any], slot: _Slot) -> int:
        if _getpid() != self._pid:  # before the lock, which another thread may have held as it was forked
            raise RuntimeError(f"{message['name']}: a forked process can't call it; the cell itself can")
        with self._sending:
            if not self._in_cell:
                raise RuntimeError(f"{message['name']} can be called only while a cell runs")
            if len(self._slots) > MAX_CALLS:
                raise RuntimeError(f"at most {MAX_CALLS} calls may wait at one time; use a batched call")
            message["id"] = number = self._calls + 1
            frame = pack_for_host(message)
            self._calls = number
            with self._state:
                self._slots[number] = slot
            self._transport.write(frame)
        return number

    def _wait(self, slot: _Slot) -> dict[str, Any]:
        slot.is_waiting = True
        try:
            while not slot.frames:
                if self._take_lead():
                    self._lead(slot)
                else:
                    slot.wake.acquire()
            return slot.frames.pop(0)
        finally:
            slot.is_waiting = False
            self._offer_lead()

    def _take_lead(self) -> bool:
        with self._state:
            if self._leading:
                return False
            self._leading = True
            return True

    def _offer_lead(self) -> None:
        """Wake one thread that waits; if its frame has come already, it offers the lead on as it leaves."""
        with self._state:
            if not self._leading:
                for slot in self._slots.values():
                    if slot.is_waiting:
                        slot.rouse()
                        return

    def _lead(self, slot: _Slot) -> None:
        try:
            while not slot.frames:
                self._deliver(self._read_frame())
        finally:
            with self._state:
                self._leading = False

    def _deliver(self, frame: dict[str, Any]) -> None:
        number = frame.get("id", _COMMANDS) if frame.get("t") == "reply" else _COMMANDS
        with self._state:
            slot = self._slots.get(number)
            if slot is not None:
                slot.frames.append(frame)
                slot.rouse()

    def _read_frame(self) -> dict[str, Any]:
        """The next frame; one that does not fit into memory becomes an error for the call that it answers."""
        try:
            self._unread = unpack_header(self._read(bytearray(HEADER.size)))
            head = self._read(bytearray(min(self._unread, _HEAD_BYTES)))
            try:
                return self._read_rest(head)
            except MemoryError:
                if not head.startswith(_REPLY):
                    raise
                self._skip()
                return {"t": "reply", "id": _id_in(head), "error": _TOO_LARGE}
        except WireError:
            _exit(70)

    def _read_rest(self, head: bytearray) -> dict[str, Any]:
        payload = bytearray(len(head) + self._unread)
        payload[: len(head)] = head
        self._read(memoryview(payload)[len(head) :])
        return unpack(payload)

    def _skip(self) -> None:
        while self._unread:
            self._read(bytearray(min(self._unread, _SKIP_BYTES)))

    def _read(self, buffer: _Buffer) -> _Buffer:
        rest = memoryview(buffer)
        while rest:
            count = self._transport.read_into(rest)
            if not count:
                _exit(0)
            self._unread -= count
            rest = rest[count:]
        return buffer


def _is_ready(descriptor: int) -> bool:
    """Whether something can be read, or the end was reached."""
    return bool(_select([descriptor], [], [], 0)[0])


def _id_in(head: bytearray) -> int:
    """The id of a reply, whose first bytes are `{"t":"reply","id":`."""
    return int(head.split(b":", 3)[2].split(b",", 1)[0])
