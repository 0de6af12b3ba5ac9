"""Server-sent events as bytes: the payloads of a stream, from pieces cut anywhere. It decodes no payload and bounds
nothing; whoever feeds it counts the bytes. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


class EventReader:
    """Takes the pieces of one stream in order; names, ids and comments of events are skipped, their data is kept."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._after_cr = False
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that `piece` completes; an event ends with an empty line."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]  # the second half of a CR LF that was cut
            self._after_cr = False
        if piece:
            self._after_cr = piece.endswith(b"\r")
        self._rest += piece
        if b"\n" not in piece and b"\r" not in piece:
            return []  # so that a long line in many pieces is split once
        return [data for line in self._lines() if (data := self._take(line)) is not None]

    def _lines(self) -> list[bytes]:
        lines = bytes(self._rest).splitlines(keepends=True)
        self._rest = bytearray(b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop())
        if not self._begun and lines:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        return lines

    def _take(self, line: bytes) -> bytes | None:
        line = line.rstrip(b"\r\n")
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        return None
