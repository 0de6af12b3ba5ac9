"""Each claim of docs/security.md names the test that shows it, and that test is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
SUITES = TESTS.parent / "src" / "rlm" / "testing"
DEFINED = {
    name
    for path in (*TESTS.rglob("test_*.py"), *SUITES.glob("*.py"))
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\btest_\w+(?!\.py|\w)", TEXT))))
def test_a_test_that_is_named_is_there(name: str) -> None:
    assert name in DEFINED


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:unit|integration)/[\w/]+\.py", TEXT))))
def test_a_file_that_is_named_is_there(path: str) -> None:
    assert (TESTS / path).is_file()


@pytest.mark.parametrize("kind", sorted(set(re.findall(r"A:(\w+)", TEXT)) - {"class"}))
def test_a_class_of_attacks_that_is_named_is_there(kind: str) -> None:
    assert (TESTS / "corpus" / "attacks" / f"{kind}.txt").is_file()


def test_every_claim_of_the_table_names_what_shows_it() -> None:
    table = TEXT.partition("## What an attacker in a cell wants")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("|")][2:]
    assert len(rows) >= 12
    assert all(len(row) == 7 and row[5].strip() for row in rows)
