"""Nothing in the tree belongs to one machine, and the lock names no index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

PLACES = ("src", "tests", "docs", "examples", "benchmarks", "requirements", "visualizer", ".ci")
# In pieces, so that this file passes its own test.
BANNED = {
    "a machine's path": r"(?<![\w.*])/" + r"(work|root|home/\w+)/|/opt/" + r"(pypi|wheels)",
    "an index's address": "pypi" + r"\.org|python" + r"hosted\.org|npmjs" + r"\.(org|com)",
    "unfinished work": r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b",
}


def texts() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")
    for place in PLACES:
        found = (path for path in (ROOT / place).rglob("*") if path.is_file())
        yield from (path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc")


@pytest.mark.parametrize("what", BANNED)
def test_no_file_says(what: str) -> None:
    pattern = re.compile(BANNED[what])
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_the_lock_is_hashed_and_names_no_index() -> None:
    lock = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==\S+(.*)$", lock, re.MULTILINE)
    assert len(pins) > 20
    assert [name for name, rest in pins if not rest.endswith("\\")] == []
    assert re.findall(r"://|--(?:index|extra-index|find-links)\S*", lock) == []


def test_the_lock_covers_what_is_asked_for() -> None:
    lock = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements/dev.txt").read_text(encoding="utf-8"), re.MULTILINE))
    asked = re.findall(r"^([\w.-]+)", (ROOT / "requirements/dev.in").read_text(encoding="utf-8"), re.MULTILINE)
    declared = re.findall(r'^  "([\w.-]+)>=', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower() for name in (*asked, *declared)} - lock == set()
