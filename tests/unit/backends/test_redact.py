"""No key reaches a message, in whole or in part."""

from __future__ import annotations

import pytest

from rlm.backends.redact import redact

KEY = "gsk_4f9a8b7c6d5e4f3a2b1c"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect key: {KEY}.",
        f"Bearer {KEY} is wrong",
        f"key={KEY[:10]} is wrong",
        f"it ends in {KEY[-9:]}",
        "Incorrect API key provided: gsk_4f9a****2b1c",
        "you sent sk-proj-4f9a8b7c6d5e",
        f"line\n{KEY}\nline",
    ],
)
def test_a_key_is_masked_whole_and_in_part(text: str) -> None:
    shown = redact(text, KEY)
    assert "[masked]" in shown
    assert not any(KEY[start : start + 5] in shown for start in range(len(KEY) - 4))
    assert "4f9a" not in shown


def test_ordinary_words_stay() -> None:
    text = "The model `gpt-nope` does not exist or you do not have access to it (request req_0123456789)."
    assert redact(text, KEY) == text
    assert redact(text, None) == text


def test_control_characters_and_length_are_tamed() -> None:
    shown = redact("\x1b[31mred\x07\n" + "word " * 10_000, None)
    assert shown.isprintable()
    assert len(shown) == 500
