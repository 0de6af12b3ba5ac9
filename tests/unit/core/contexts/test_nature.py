"""What a model is told of a text: JSON and its keys, a table and its columns, a log and its time span."""

from __future__ import annotations

import json

import pytest

from rlm.core.contexts.context import DESCRIPTION_CHARS
from rlm.core.contexts.spool import text_context

ROW = {"id": 1, "name": "x"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps([ROW] * 3), "JSON, a list of 3 items; the first is a dict with keys 'id' (int), 'name' (str)"),
        (json.dumps({"rows": [ROW], "at": "now"}), "JSON, a dict of 2 keys: 'rows' (list), 'at' (str)"),
        ("[" + ",\n".join([json.dumps(ROW)] * 70_000) + "]", "JSON, a list; the first item is a dict with keys 'id'"),
        (f"{json.dumps(ROW)}\n" * 3, "JSON lines, the first is a dict with keys 'id' (int), 'name' (str)"),
        ('day,"amount",note\n1,2,"a, b"\n2,3,c\n', "a table of 3 columns, divided by commas: day, amount, note"),
        ("a\tb\n1\t2\n", "a table of 2 columns, divided by tabs: a, b"),
        (
            "2026-03-01 10:00:00 up\n at x\n2026-03-02 11:00:00 down\n",
            "from 2026-03-01 10:00:00 to 2026-03-02 11:00:00",
        ),
        ("Mar  1 10:00:00 h sshd: a\n" * 9 + "Mar  2 09:00:00 h b\nend\n", "from Mar  1 10:00:00 to Mar  2 09:00:00"),
        ('h - - [10/Oct/2025:13:55:36 +0000] "GET /"\n' * 3, "from 10/Oct/2025:13:55:36 to 10/Oct/2025:13:55:36"),
    ],
)
def test_what_a_text_is_is_told(text: str, words: str) -> None:
    described = text_context(text).describe()
    assert f"It is {words}" in described or f"lines with times, {words}" in described
    assert len(described) <= DESCRIPTION_CHARS


@pytest.mark.parametrize(
    "text",
    [
        "Dear all, I came, saw\nand went, as ever, I fear\n",
        "[note] this is no JSON\n[note] nor this\n",
        "{ brace\n",
        "one, two\n",
        "1,2\n3,4\n",
        "in 2026-03-01 10:00:00 it rained\nand then\nit\ndid\nnot\n",
        "",
    ],
)
def test_just_text_is_called_nothing_else(text: str) -> None:
    assert "It is" not in text_context(text).describe()


def test_hostile_names_are_bounded_and_steer_nothing() -> None:
    described = text_context("a\x1b[2J,b" + ",c" * 9_000 + "\n" + "1" + ",2" * 9_001 + "\n").describe()
    assert "\x1b" not in described
    assert "a table of 9,002 columns" in described
    assert len(text_context("[" * 60_000).describe()) < DESCRIPTION_CHARS
