from __future__ import annotations

import io
import os

from rlm.core.events import Event, TurnStart, decode
from rlm.sinks.stream_json import StreamJson

EVENT = Event(seq=0, at=1.0, run="r", span="s", parent=None, type="turn.start", body=TurnStart(turn=1))


def never() -> None:
    raise AssertionError("the reader is there")


def test_each_event_is_a_line_at_once() -> None:
    stream = io.BytesIO()
    sink = StreamJson(stream, never)
    sink.write(EVENT)
    sink.write_encoded(b"{}")
    first, second = stream.getvalue().splitlines()
    assert (decode(first), second) == (EVENT, b"{}")


def test_a_reader_that_has_gone_is_reported_once() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    gone: list[int] = []
    with os.fdopen(writing, "wb", buffering=0) as stream:
        sink = StreamJson(stream, lambda: gone.append(1))
        sink.write(EVENT)
        sink.write(EVENT)
    assert (gone, sink.gone) == ([1], True)
