from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.core.plain import one_line, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\x1b[0m", "ab"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\rb\x08c\x00", "a\\rb\\x08c\\x00"),
        ("line\r\nnext\ttab", "line\nnext\ttab"),
        ("\u202eevil\ud800", "\\u202eevil\\ud800"),
        ("\x1b", "\\x1b"),
        ("grüße 你好 🎉", "grüße 你好 🎉"),
    ],
)
def test_what_steers_a_terminal_is_taken_out(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize("begin", ["\x9d", "\x1b]", "\x90x", "\x9b0", "\x1b[0", "\x1b "])
def test_sequences_that_never_end_are_read_once(begin: str) -> None:
    """Read once for each beginning, so many would take hours."""
    assert "\x07" not in plain(begin * 200_000)


def test_a_string_that_never_ends_hides_no_other() -> None:
    assert plain("a\x9dtitle\x90secret\x07b") == "a\\x9dtitleb"


@given(st.text())
def test_nothing_is_left_that_steers(text: str) -> None:
    assert all(char in "\n\t" or char.isprintable() for char in plain(text))
    assert one_line(text, 20).isprintable()
    assert len(one_line(text, 20)) <= 20
