"""Server-sent events as bytes: the payloads of a stream, from pieces cut anywhere. It decodes no payload and bounds
nothing; whoever feeds it counts the bytes. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event: its data, and its name where it has one."""

    data: bytes
    name: str = ""


class EventReader:
    """Takes the pieces of one stream in order; ids and comments of events are skipped."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._name = ""
        self._after_cr = False
        self._begun = False

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """The events that `piece` completes; an event ends with an empty line."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]  # the second half of a CR LF that was cut
            self._after_cr = False
        if piece:
            self._after_cr = piece.endswith(b"\r")
        self._rest += piece
        if b"\n" not in piece and b"\r" not in piece:
            return []  # so that a long line in many pieces is split once
        return [event for line in self._lines() if (event := self._take(line)) is not None]

    def end(self) -> list[ServerEvent]:
        """The event in which the stream ended, if any: some servers leave out the last empty line."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [event for line in (rest, b"") if (event := self._take(line)) is not None]

    def _lines(self) -> list[bytes]:
        lines = bytes(self._rest).splitlines(keepends=True)
        self._rest = bytearray(b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop())
        if not self._begun and lines:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        return lines

    def _take(self, line: bytes) -> ServerEvent | None:
        line = line.rstrip(b"\r\n")
        if not line:
            data, name = self._data, self._name
            self._data, self._name = [], ""
            return ServerEvent(b"\n".join(data), name) if data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None
