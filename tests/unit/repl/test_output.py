"""The output of a cell: cut at the mark, wherever the stream is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rlm.repl.output import CellOutput, new_mark

MARK = new_mark()


def collect(chunks: list[bytes], kept: int = 1_000) -> tuple[CellOutput, list[str]]:
    pieces: list[str] = []
    output = CellOutput(kept, pieces.append)
    output.begin(MARK)
    for chunk in chunks:
        output.feed(chunk)
    return output, pieces


@given(st.text(st.characters(codec="utf-8"), max_size=50), st.lists(st.integers(0, 200), max_size=6))
def test_the_mark_is_found_however_the_stream_is_cut(text: str, cuts: list[int]) -> None:
    stream = text.encode() + MARK.encode()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    output, pieces = collect([stream[a:b] for a, b in pairwise(edges)])
    assert output.is_complete
    assert output.text == "".join(pieces) == text
    assert output.total_chars == len(text)


@given(st.text(alphabet="\x1e0123456789abcdef", max_size=80))
def test_what_only_looks_like_a_mark_is_output(text: str) -> None:
    output, _ = collect([text.encode(), MARK.encode()])
    assert output.text == text


def test_output_without_a_mark_waits_for_no_more_than_its_beginning() -> None:
    output, _ = collect([b"text", MARK.encode()[:5]])
    assert output.text == "text"
    output.end()
    assert output.text == "text" + MARK[:5]


def test_undecodable_bytes_are_replaced() -> None:
    output, _ = collect([b"a\xff", b"\xc3", b"\xa4\xc3", MARK.encode()])
    assert output.text == "a\ufffd\xe4\ufffd"


def test_what_exceeds_the_cap_is_counted_only() -> None:
    output, pieces = collect([b"x" * 600, b"y" * 600, MARK.encode()])
    assert (len(output.text), output.total_chars) == (1_000, 1_200)
    assert sum(map(len, pieces)) == 1_000


def test_output_between_cells_belongs_to_the_next() -> None:
    output, _ = collect([b"first", MARK.encode() + b"late "])
    output.feed(b"later ")
    output.begin(MARK)
    output.feed(b"second" + MARK.encode())
    assert output.text == "late later second"
