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


def test_of_what_exceeds_the_cap_the_beginning_and_the_end_are_kept() -> None:
    output, pieces = collect([b"x" * 600, b"y" * 600, b"z" * 600 + MARK.encode()])
    assert output.text == f"{'x' * 600}{'y' * 200}\n[... 842 characters were not kept ...]\n{'z' * 158}"
    assert (len(output.text), output.total_chars) == (998, 1_800)
    assert "".join(pieces) == output.text


def test_what_just_fits_is_kept_whole() -> None:
    output, pieces = collect([b"x" * 999, b"y" + MARK.encode()])
    assert output.text == "".join(pieces) == "x" * 999 + "y"


def test_edges_are_those_of_lines_where_these_are_near() -> None:
    output, _ = collect([b"%03d\n" % number for number in range(500)] + [MARK.encode()])
    head, note, tail = output.text.partition("\n[... ")
    assert head.splitlines()[-1] == "175"
    assert note
    assert tail.splitlines()[1:3] == ["437", "438"]


@given(st.lists(st.text(alphabet="ab\n", max_size=400), max_size=12), st.integers(1, 700))
def test_what_is_kept_does_not_depend_on_the_pieces(texts: list[str], size: int) -> None:
    stream = "".join(texts).encode()
    whole, _ = collect([stream, MARK.encode()], kept=500)
    cut, pieces = collect([stream[at : at + size] for at in range(0, len(stream), size)] + [MARK.encode()], kept=500)
    assert whole.text == cut.text == "".join(pieces)
    assert len(cut.text) <= 500
    assert cut.total_chars == len(stream)
    if len(stream) <= 500:
        assert cut.text == stream.decode()


def test_output_between_cells_is_told_apart_from_that_of_the_next() -> None:
    output, _ = collect([b"first", MARK.encode() + b"late "])
    output.feed(b"later ")
    output.begin(MARK)
    output.feed(b"second" + MARK.encode())
    assert output.text.splitlines() == [
        "[Printed before this cell began, by what an earlier one left running:]",
        "late later ",
        "[Printed by this cell:]",
        "second",
    ]
    assert output.total_chars == len(output.text)


def test_output_between_cells_is_bounded() -> None:
    output, _ = collect([b"first", MARK.encode()])
    for _ in range(100):
        output.feed(b"late" * 1_000)
    output.begin(MARK)
    assert len(output.text) < 5_000


def test_a_mark_that_comes_too_late_is_never_shown() -> None:
    output, _ = collect([b"first"])
    output.end()
    output.feed(b" rest" + MARK.encode())
    output.begin(new_mark())
    assert "\x1e" not in output.text
    assert " rest" in output.text
