"""Events out of bytes that are cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.backends.sse import EventReader


def read(*pieces: bytes) -> list[bytes]:
    reader = EventReader()
    return [event.data for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a \n\n", [b" a "]),
        (b"data: a\r\n\r\n", [b"a"]),
        (b"data: a\r\r", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata\n\n", [b"\n"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"event: x\nid: 3\nretry: 9\n: comment\ndata: a\n\n", [b"a"]),
        (b"event: x\n\n: comment\n\n\n\n", []),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"datax: a\n\n", []),
        ("data: é\u2028\x85\n\n".encode(), ["é\u2028\x85".encode()]),
        (b"", []),
    ],
)
def test_events_are_read_as_the_specification_says(sent: bytes, events: list[bytes]) -> None:
    assert read(sent) == events
    assert read(*(bytes([byte]) for byte in sent)) == events


def test_an_event_has_its_name_and_the_last_one_needs_no_empty_line() -> None:
    reader = EventReader()
    assert reader.feed(b"event: error\ndata: a\n\ndata: b\nevent: x") == [(b"a", "error")]
    assert reader.end() == [(b"b", "x")]
    assert reader.end() == []


TEXT = st.text(alphabet="ab:\n\r é").map(str.encode)


@given(st.lists(st.one_of(TEXT, st.sampled_from([b"data: x\n", b"\n", b"\r\n", b"\r"]))))
def test_where_the_network_cuts_changes_nothing(pieces: list[bytes]) -> None:
    assert read(*pieces) == read(b"".join(pieces))


def test_a_long_line_takes_linear_time() -> None:
    piece = b"x" * 4096
    assert read(b"data: ", *([piece] * 8000), b"\n\n") == [piece * 8000]
