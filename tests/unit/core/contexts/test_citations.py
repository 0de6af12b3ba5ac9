"""Where the data has the words of a quote: exactly, but for spacing, or not at all."""

import pytest

from rlm.core.contexts import citations
from rlm.core.contexts.citations import cite
from rlm.core.contexts.context import Context
from rlm.core.contexts.spool import text_context, value_context
from rlm.runtime.inputs import prepare

LETTER = "Sehr geehrte Frau Müller,\n\nyour order of 7 May left our house\non the 9th, and the parcel was lost.\n"


@pytest.fixture(params=[4 << 20, 16], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    """However the data falls into blocks, the answer is the same."""
    monkeypatch.setattr(citations, "_BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    ("quote", "found", "line"),
    [
        ("the parcel was lost", "exact", 4),
        ("Frau Müller,\n\nyour order", "exact", 1),
        ("left our house on the 9th", "spacing", 3),
        ("  the   parcel\twas lost ", "spacing", 4),
        ("the parcel was never lost", "no", 4),
        ("nothing of the kind stands here", "no", None),
        ("", "no", None),
        ("   ", "no", None),
    ],
)
def test_a_text_has_the_words_or_not(quote, found, line):
    citation = cite(text_context(LETTER), quote)
    assert (citation.quote, citation.found, citation.line) == (quote, found, line)
    assert citation.holds == (found != "no")
    if citation.holds:
        assert LETTER[citation.start : citation.end].split() == quote.split()
    elif line:
        assert LETTER[citation.start : citation.end] == citation.nearest
        assert "parcel was" in citation.nearest


@pytest.mark.usefixtures("blocks")
def test_offsets_are_characters_of_what_is_no_ascii():
    text = "é" * 1000 + "\n" + "漢字" * 500 + "\nthe 漢 quote ends\n"
    citation = cite(text_context(text), "漢 quote")
    assert text[citation.start : citation.end] == "漢 quote"
    assert citation.line == 3


@pytest.mark.usefixtures("blocks")
def test_words_that_stand_across_the_edge_of_a_block_are_found():
    text = "x" * 61 + "needle" + "y" * 61 + "needle"
    assert cite(text_context(text), "needle").start == 61
    assert cite(text_context(text), "needley").start == 61
    assert cite(text_context(text), "yneedle").start == 127


def test_of_many_files_the_one_that_has_it_is_named(tmp_path):
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(f"nothing\nof {name} matters\n", encoding="utf-8")
    context = prepare(tmp_path)
    citation = cite(context, "of b.txt matters")
    assert (citation.file, citation.line, citation.found) == ("b.txt", 2, "exact")


@pytest.mark.parametrize(
    ("quote", "path", "start"),
    [("quoted", "[1]['said']", 12), ("it   broke", "[1]['said']", 0), ("4711", "[0]['id']", 0)],
)
def test_a_value_says_how_the_text_is_reached(quote, path, start):
    value = [{"id": 4711}, {"said": 'it broke, "quoted"\nand all'}]
    start = 11 if quote == "quoted" else start
    citation = cite(value_context(value, lambda each: each), quote)
    assert (citation.path, citation.start, citation.holds) == (path, start, True)


def test_of_a_large_value_it_is_only_said_that_it_has_them(monkeypatch):
    monkeypatch.setattr(citations, "_VALUE_BYTES", 10)
    value = [{"said": 'it broke, "quoted"\nand all'}]
    context = value_context(value, lambda each: each)
    assert cite(context, '"quoted"\nand').found == "exact"
    assert cite(context, "never").found == "no"


def test_without_data_nothing_holds():
    assert not cite(Context.empty(), "x").holds


@pytest.mark.parametrize(
    "text", ["a " * 300_000, "ab" * 300_000, " " * 600_000 + "z"], ids=["words", "one word", "spaces"]
)
def test_hostile_texts_and_quotes_take_no_longer_than_others(text):
    context = text_context(text)
    for quote in ("a " * 2_000 + "b", "ab" * 4_000 + "c", "a" + " " * 5_000 + "z", "x" * 10_001):
        assert not cite(context, quote).holds
