"""What a zygote and its host say to each other: wire frames that may carry file descriptors.

The host trusts a zygote as it trusts itself, for no guest code ever runs in one.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.wire import HEADER, pack, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_DESCRIPTORS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRequest:
    """One message and the descriptors that came with it."""

    message: Mapping[str, Any]
    descriptors: Sequence[int]


class Control:
    """The zygote's end, blocking."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)

    def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send one message; the descriptors are still the sender's to close."""
        frame = pack(message)
        sent = socket.send_fds(self.socket, [frame], list(descriptors))
        self.socket.sendall(frame[sent:])

    def receive(self) -> ForkRequest | None:
        """Wait for one message; None when the host has gone."""
        header, descriptors, _flags, _address = socket.recv_fds(self.socket, HEADER.size, MAX_DESCRIPTORS)
        header += self._read(HEADER.size - len(header)) if header else b""
        if len(header) < HEADER.size:
            return None
        return ForkRequest(message=unpack(self._read(unpack_header(header))), descriptors=descriptors)

    def _read(self, size: int) -> bytes:
        pieces = []
        while size and (piece := self.socket.recv(min(size, 1 << 20))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
