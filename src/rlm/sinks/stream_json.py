"""Writes each event as a line of JSON as it happens, for programs that watch a run through a pipe."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from rlm.core.events import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.events import Event


class StreamJson:
    """Lines to `stream`; when it takes no more, `on_gone` is called once and nothing more is written."""

    on_loop = True

    def __init__(self, stream: IO[bytes], on_gone: Callable[[], None]) -> None:
        self._stream = stream
        self._on_gone = on_gone
        self.gone = False

    def write(self, event: Event) -> None:
        self.write_encoded(encode(event))

    def write_encoded(self, line: bytes) -> None:
        """Write one line of JSON: an event, or the result after the last one."""
        if self.gone:
            return
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
        except OSError:  # its reader has gone, or its disk is full
            self.gone = True
            self._on_gone()

    def close(self) -> None:
        """Leave the stream to its owner."""
