"""What joins the host half to a guest, whatever carries the bytes: the seam that every sandbox fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rlm.repl.guest.wire import HEADER, unpack_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.repl.deaths import Death


class Receiver(Protocol):
    """The host half, as a channel calls it: on the event loop, in order, never after `closed`."""

    def frames_received(self, received: bytes) -> None:
        """Some bytes of frames came, cut anywhere."""
        ...

    def output_received(self, received: bytes) -> None:
        """Some bytes of output came, cut anywhere."""
        ...

    def closed(self) -> None:
        """The guest is gone, and all it sent was delivered."""
        ...


class Channel(Protocol):
    """One guest, and the way to it."""

    def attach(self, receiver: Receiver) -> None:
        """Start delivering; called once."""
        ...

    def send(self, frame: bytes) -> None:
        """Queue a frame; dropped if the guest is gone."""
        ...

    def drain_output(self) -> None:
        """Deliver now what output there is already."""
        ...

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the cell, if the guest still obeys."""
        ...

    def kill(self) -> None:
        """End the guest at once; `closed` follows. Idempotent."""
        ...

    def cpu_s(self) -> float | None:
        """CPU seconds that the guest has used, as the host sees it; None where it can't see."""
        ...

    def threads(self) -> int | None:
        """How many threads the guest has, as the host sees it; None where it can't see."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the guest is gone."""
        ...

    async def death(self) -> Death | None:
        """How a guest that was not killed from here has ended; None where that can't be seen."""
        ...


class FrameParser:
    """Cuts a stream into the payloads of its frames; never allocates for a length that is not allowed."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def has_begun(self) -> bool:
        """Part of a frame has come, and the rest has not."""
        return bool(self._buffer)

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Take the next bytes and yield each payload that is complete.

        Raises:
            WireError: a header breaks the rules; the stream is of no more use.
        """
        buffer = self._buffer
        buffer += received
        while len(buffer) >= HEADER.size:
            end = HEADER.size + unpack_header(memoryview(buffer)[: HEADER.size].tobytes())
            if len(buffer) < end:
                return
            payload = bytes(memoryview(buffer)[HEADER.size : end])
            del buffer[:end]
            yield payload
