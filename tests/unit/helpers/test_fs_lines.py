"""Ranges of lines from file to file: numbers, newlines, encodings, ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs

if TYPE_CHECKING:
    from pathlib import Path


def test_ranges_count_from_1_and_are_inclusive(tree: Path) -> None:
    (tree / "a").write_text("1\n2\n3\n4\n")
    assert fs.copy_lines("a", 2, 3) == "2\n3\n"
    assert fs.copy_lines("a", 4, 4) == "4\n"


@pytest.mark.parametrize(("start", "end"), [(0, 1), (-1, 1), (3, 2), (1, 5), (9, 9)])
def test_a_range_that_is_not_there_is_refused(tree: Path, start: int, end: int) -> None:
    (tree / "a").write_text("1\n2\n3\n4\n")
    with pytest.raises(ToolError, match=f"lines {start} to {end}: "):
        fs.copy_lines("a", start, end)


def test_lines_are_those_of_pythons_parser(tree: Path) -> None:
    (tree / "a.py").write_bytes("x = 1\x0c\ry = '\u2028'\r\nz = 3\n".encode())
    assert fs.copy_lines("a.py", 3, 3) == "z = 3\n"
    assert fs.stat("a.py")["lines"] == 3


def test_a_missing_last_newline_joins_no_lines(tree: Path) -> None:
    (tree / "a").write_text("one\ntwo")
    facts = fs.paste_code("a", -1, "three\n")
    assert (tree / "a").read_text() == "one\ntwo\nthree\n"
    assert facts == {"file": "a", "start_line": 3, "lines_added": 1}


def test_text_without_an_end_gets_one_before_what_follows(tree: Path) -> None:
    (tree / "a").write_text("one\ntwo\n")
    fs.paste_code("a", 2, "x")
    assert (tree / "a").read_text() == "one\nx\ntwo\n"


def test_the_newline_style_of_the_target_is_kept(tree: Path) -> None:
    (tree / "a").write_bytes(b"one\r\ntwo")
    fs.paste_code("a", 3, "x\ny\n")
    assert (tree / "a").read_bytes() == b"one\r\ntwo\r\nx\r\ny\r\n"


def test_mixed_newlines_stay_as_they_are(tree: Path) -> None:
    (tree / "a").write_bytes(b"one\r\ntwo\nthree\r\n")
    fs.paste_code("a", 2, "x\n")
    assert (tree / "a").read_bytes() == b"one\r\nx\r\ntwo\nthree\r\n"


def test_mark_and_encoding_are_kept(tree: Path) -> None:
    (tree / "a").write_bytes("\ufeffżółć\r\n".encode("utf-16"))
    before = (tree / "a").read_bytes()
    fs.paste_code("a", 1, "ą\n")
    assert (tree / "a").read_bytes() == before[:2] + "ą\r\n\ufeffżółć\r\n".encode("utf-16-le")


def test_latin_1_is_kept_and_refuses_what_it_has_not(tree: Path) -> None:
    content = "Größe und Länge, schön übersichtlich für alle Prüfungen\n".encode("latin-1") * 5
    (tree / "a").write_bytes(content)
    fs.paste_code("a", 1, "weiß\n")
    assert (tree / "a").read_bytes() == "weiß\n".encode("latin-1") + content
    with pytest.raises(ToolError, match="nothing was written"):
        fs.paste_code("a", 1, "日本\n")


def test_damaged_utf_8_is_kept_byte_for_byte(tree: Path) -> None:
    damaged = "naïve café — déjà vu, señor\n".encode() * 20 + b"\xff\xfe broken\n"
    (tree / "a").write_bytes(damaged)
    fs.paste_code("a", -1, "end\n")
    assert (tree / "a").read_bytes() == damaged + b"end\n"


def test_a_batch_counts_lines_as_they_were_before_it(tree: Path) -> None:
    (tree / "a").write_text("a1\na2\na3\n")
    (tree / "b").write_text("b1\nb2\n")
    facts = fs.batch_copy(
        [
            {"source_file": "a", "start_line": 1, "end_line": 2, "target_file": "b", "target_line": 1},
            {"source_file": "a", "start_line": 3, "end_line": 3, "target_file": "b", "target_line": 2},
            {"source_file": "b", "start_line": 2, "end_line": 2, "target_file": "a", "target_line": -1},
        ]
    )
    assert (tree / "b").read_text() == "a1\na2\nb1\na3\nb2\n"
    assert (tree / "a").read_text() == "a1\na2\na3\nb2\n"
    assert facts == {"operations": 3, "lines_copied": 4, "files_modified": 2, "files": ["b", "a"]}


def test_a_batch_with_one_bad_operation_writes_nothing(tree: Path) -> None:
    (tree / "a").write_text("a1\n")
    good = {"source_file": "a", "start_line": 1, "end_line": 1, "target_file": "new", "target_line": 1}
    with pytest.raises(ToolError, match="operation 2: lines 1 to 9"):
        fs.batch_copy([good, {**good, "end_line": 9}])
    assert [path.name for path in tree.iterdir()] == ["a"]


def test_a_line_beyond_the_end_is_refused(tree: Path) -> None:
    (tree / "a").write_text("a1\n")
    with pytest.raises(ToolError, match="give 1 to 2, or -1"):
        fs.paste_code("a", 3, "x\n")
