from __future__ import annotations

import pytest
from rlm_visualizer.formats import count, dollars, duration, flat, joined, line, plural, shown, size, when


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 ms"), (0.0042, "4.2 ms"), (0.34, "340 ms"), (5.55, "5.5 s"), (125, "2 min 5 s"), (3720, "1 h 2 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts() -> None:
    assert [count(n) for n in (950, 12_340, 2_000, 4_500_000)] == ["950", "12.3k", "2k", "4.5M"]
    assert [dollars(n) for n in (None, 0.0, 0.0123, 12.5)] == ["–", "$0", "$0.0123", "$12.50"]
    assert [size(n) for n in (12, 1_500, 76_000_000)] == ["12 B", "1.5 kB", "76.0 MB"]
    assert (plural(1, "run"), plural(2, "run"), joined(["a", "", "b"])) == ("1 run", "2 runs", "a · b")


@pytest.mark.parametrize("at", [1e30, -1e30, float("nan"), float("inf")])
def test_a_clock_gone_wrong_is_no_fault(at: float) -> None:
    assert when(at, 1_780_000_000.0) == "–"


def test_what_steers_a_display_is_shown_as_what_it_is() -> None:
    hostile = "a\x1b[31mred\x1b[0m \u202eb\x00\ud800"
    assert shown(hostile) == "ared \\u202eb\\x00\\ud800"
    assert line("one\ntwo\t\x07") == "one two \\x07"
    assert flat(" one\ntwo ") == " one two "


def test_a_long_text_says_what_is_missing() -> None:
    text = shown("a" * 100 + "b" * 100, 40)
    assert text.startswith("a" * 30 + "\n")
    assert text.endswith("b" * 10)
    assert "160 characters are not shown" in text
