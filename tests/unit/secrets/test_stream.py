"""A text that arrives in pieces: what is ready when, and what is held back."""

from __future__ import annotations

import pytest

from rlm.secrets import SecretMasker
from rlm.secrets.stream import LINE_CHARS, MaskStream

KEY = "sk-" + "aB3dE6gH9jK2" * 4
BLOCK = "-----BEGIN PRIVATE KEY-----\n" + ("QUJDREVGRw" * 6 + "\n") * 8 + "-----END PRIVATE KEY-----\n"


def stream() -> MaskStream:
    return SecretMasker().stream()


def fed(text: str, size: int) -> str:
    whole = stream()
    return "".join(whole.feed(text[at : at + size]) for at in range(0, len(text), size)) + whole.close()


@pytest.mark.parametrize("at", range(1, len(KEY)))
def test_a_secret_in_two_pieces(at: int) -> None:
    whole = stream()
    parts = whole.feed(f"key {KEY[:at]}"), whole.feed(f"{KEY[at:]} end\n"), whole.close()
    assert "".join(parts) == "key [REDACTED_API_KEY] end\n"


def test_whole_lines_go_on_at_once() -> None:
    whole = stream()
    assert whole.feed("one\npassword=hun") == "one\n"
    assert whole.feed("ter2\nthr") == "password=[REDACTED_PASSWORD]\n"
    assert whole.close() == "thr"


def test_a_name_in_one_line_tells_of_a_value_in_the_next() -> None:
    whole = stream()
    assert whole.feed("Generated API key:\n") == "Generated API key:\n"
    assert whole.feed("aB3dE6gH9jK2mN5pQ8sT1vW4\n") == "[REDACTED_API_KEY]\n"


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_private_key_in_pieces(size: int) -> None:
    assert fed(f"a\n{BLOCK}b\n", size) == "a\n[REDACTED_PRIVATE_KEY]\nb\n"


def test_what_is_held_back_is_bounded() -> None:
    whole = stream()
    ready = sum(len(whole.feed("x y " * 1000)) for _ in range(100))
    assert 400_000 - ready <= LINE_CHARS + 4000
    assert ready + len(whole.close()) == 400_000


def test_a_key_that_never_ends_is_let_go() -> None:
    whole = stream()
    ready = whole.feed("-----BEGIN PRIVATE KEY-----\n") + "".join(whole.feed("prose\n") for _ in range(10_000))
    assert ready.endswith("prose\n")


@pytest.mark.parametrize("before", [0, 100, 8_000, 57_000, 65_000])
def test_a_secret_in_a_line_without_an_end(before: int) -> None:
    text = "ab " * (before // 3) + KEY + " cd" * 40_000
    assert fed(text, 4096) == text.replace(KEY, "[REDACTED_API_KEY]")
