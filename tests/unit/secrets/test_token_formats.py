"""The file of the forms of issuers' tokens: each row has a source, a family and a pattern with an end."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import rlm.secrets
from tests.architecture.sources import ROOT

FILE = Path(rlm.secrets.__file__).with_name("token_formats.txt")
LINES = [line for line in FILE.read_text(encoding="ascii").splitlines() if line]
ROWS = [line.split() for line in LINES if not line.startswith("#")]


def test_every_row_stands_under_the_documentation_of_its_issuer() -> None:
    headings = [line for line in LINES if line.startswith("## ")]
    assert all(re.fullmatch(r"## [^:]+: https://\S+\.\S+", line) for line in headings)
    body = LINES[LINES.index(headings[0]) :]
    assert not any(line.startswith("# ") for line in body)
    assert not any(line.startswith("##") and after.startswith("##") for line, after in pairwise(body))


def test_a_prefix_has_one_row() -> None:
    prefixes = [row[1] for row in ROWS]
    assert len(prefixes) == len({*prefixes})
    assert all(len(row) in (3, 4) for row in ROWS)


def test_no_pattern_reads_without_end() -> None:
    unbounded = [
        row for row in ROWS for part in row[2:] if re.search(r"(?<!\\)[*+](?!\+)(?<!\}\+)|\{\d+,\}", _plain(part))
    ]
    assert unbounded == []


def test_a_family_is_named_in_the_document() -> None:
    document = (ROOT / "docs" / "masking.md").read_text()
    known = {*re.findall(r"[A-Z][A-Z0-9_]+", document)}
    others = {row[0] for row in ROWS if not row[0].endswith("_TOKEN")} - known
    assert others == set()


def _plain(pattern: str) -> str:
    """A pattern without its classes of characters."""
    return re.sub(r"\[[^\]]*\]", ".", pattern)
