"""Masking over random mixtures of secrets, lookalikes and fragments."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.masking import HOSTILE
from rlm.secrets import SecretMasker
from rlm.secrets.spans import replaced
from rlm.secrets.stream import LINE_CHARS
from tests.support.labelled import Labelled, read

MASKER = SecretMasker(personal=True)
SECRETS = [line for line in read("secrets") if len(line.places) == 1]
CORPUS = (
    "secrets", "lookalikes", "pii", "blind_secrets", "blind_lookalikes", "blind_pii", "blind_second", "blind_third",
    "blind_fourth", "blind_fifth",
)  # fmt: skip
TEXTS = [line.text for name in CORPUS for line in read(name)]
FRAGMENTS = sorted(
    {*HOSTILE.values(), "'", '"', " ", "\n", "=", ": ", "[REDACTED_TOKEN]", "://", "é", "\ud800", "İ", "\0"}
)

pieces = st.one_of(st.sampled_from(TEXTS), st.sampled_from(FRAGMENTS), st.text(max_size=12))
texts = st.lists(pieces, max_size=12).map("".join)
lines = st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=30)), max_size=12).map("\n".join)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_masking_twice_changes_nothing(text: str) -> None:
    once = MASKER.mask(text)
    assert MASKER.mask(once) == once


@given(lines, st.lists(st.integers(1, 200), min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_stream_masks_as_the_whole_does(text: str, sizes: list[int]) -> None:
    stream, at, parts = MASKER.stream(), 0, []
    while at < len(text):
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.feed(text[at : at + size]))
        at += size
    assert "".join(parts) + stream.close() == MASKER.mask(text)


@pytest.mark.parametrize("line", read("blind_secrets")[::7], ids=lambda line: line.text[:30])
def test_a_cut_anywhere_changes_nothing(line: Labelled) -> None:
    text = f"first line\n{line.text}\nlast line"
    whole = MASKER.mask(text)
    for at in range(len(text) + 1):
        stream = MASKER.stream()
        assert stream.feed(text[:at]) + stream.feed(text[at:]) + stream.close() == whole


@given(
    st.lists(st.one_of(st.sampled_from(TEXTS), st.just("word " * 3000)), min_size=8, max_size=16),
    st.integers(1, 30_000),
)
@settings(max_examples=20, deadline=None)
def test_a_line_without_an_end_is_masked_as_the_whole_is(parts: list[str], size: int) -> None:
    text = " ".join(part.replace("\n", " ") for part in parts)
    stream = MASKER.stream()
    pieces = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(pieces) + stream.close() == MASKER.mask(text)


@given(st.lists(pieces, min_size=20, max_size=40))
@settings(max_examples=100, deadline=None)
def test_many_texts_are_masked_as_each_is_by_itself(many: list[str]) -> None:
    assert MASKER.mask_value(many) == [MASKER.mask(text) for text in many]


@given(texts)
@settings(max_examples=20, deadline=None)
def test_a_long_text_is_masked_as_its_lines_are(text: str) -> None:
    lines = f"{text}\n" * (LINE_CHARS // (len(text) + 1) + 2)
    assert MASKER.mask(lines) == replaced(lines, MASKER.find(lines))


@given(texts)
@settings(max_examples=200, deadline=None)
def test_places_are_in_order_apart_and_inside(text: str) -> None:
    spans = MASKER.find(text)
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)


@given(st.sampled_from(sorted(HOSTILE)), st.lists(st.sampled_from(FRAGMENTS), max_size=3))
@settings(max_examples=60, deadline=None)
def test_hostile_text_comes_to_an_end(name: str, around: list[str]) -> None:
    unit = HOSTILE[name].join(around) or HOSTILE[name]
    text = unit * (100_000 // len(unit))  # quadratic time would be minutes for each of these
    assert MASKER.mask(MASKER.mask(text)) is not None


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(TEXTS)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.sampled_from(["password", "token", "name", *TEXTS[:40]]), inner, max_size=4),
        ),
    )
)
@settings(max_examples=150, deadline=None)
def test_masked_values_keep_their_shape(value: object) -> None:
    masked = MASKER.mask_value(value)
    assert type(masked) is type(value) or isinstance(value, int)
    if isinstance(value, (list, dict)):
        assert len(masked) == len(value)
    assert MASKER.mask_value(masked) == masked
