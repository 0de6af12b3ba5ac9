"""Ranges of lines from file to file: numbers, newlines, encodings, ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs
from rlm.helpers.workspace import Workspace

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


def test_nothing_but_a_newline_ends_a_line(tree: Path) -> None:
    (tree / "a.py").write_bytes("x = 1\x0c\x85y = '\u2028'\r\nz = 3\n".encode())
    assert fs.copy_lines("a.py", 2, 2) == "z = 3\n"
    assert fs.stat("a.py")["lines"] == 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_return_alone_is_data_where_lines_end_otherwise(tree: Path, end: bytes) -> None:
    lines = [b"10%\r20%\rdone", b"next line", b"last"]
    (tree / "p.log").write_bytes(end.join([*lines, b""]))
    assert fs.copy_lines("p.log", 2, 2).rstrip() == "next line"
    assert [row["line"] for row in fs.grep("next|20%")["matches"]] == [1, 2]
    fs.paste_code("p.log", 2, "INSERTED")
    assert (tree / "p.log").read_bytes() == end.join([lines[0], b"INSERTED", *lines[1:], b""])
    fs.search_replace("p.log", "done", "")
    assert (tree / "p.log").read_bytes() == end.join([b"10%\r20%\r", b"INSERTED", *lines[1:], b""])
    fs.paste_code("p.log", -1, "30%\r40%\n")
    assert (tree / "p.log").read_bytes().endswith(b"last" + end + b"30%\r40%" + end)


@pytest.mark.parametrize(("search", "regex"), [("two\r\nthree", False), (r"two\r\nthree", True), ("two\nthree", False)])
def test_a_newline_is_found_however_it_is_written(tree: Path, search: str, regex: bool) -> None:
    (tree / "a").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    assert fs.search_replace("a", search, "2\r\n3", regex=regex)["total_replacements"] == 1
    assert (tree / "a").read_bytes() == b"one\r\n2\r\n3\r\n"


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


def test_lines_of_a_file_that_mixes_newlines_are_found_as_they_are_or_it_is_said(tree: Path) -> None:
    (tree / "a").write_bytes(b"one\r\ntwo\r\nthree\n")
    assert "'a' mixes \\n and \\r\\n" in fs.search_replace("a", "two\nthree", "x")["note"]
    assert fs.search_replace("a", r"two\r?\nthree", "x", regex=True)["total_replacements"] == 1
    assert "note" not in fs.search_replace("a", "nowhere", "x")


def test_a_declared_encoding_is_no_guess(tree: Path) -> None:
    text = "# -*- coding: koi8-r -*-\nname = 'Привет'\n"
    (tree / "a.py").write_text(text, encoding="koi8-r")
    assert fs.read_file("a.py") == text
    fs.search_replace("a.py", "Привет", "Мир")
    assert (tree / "a.py").read_text(encoding="koi8-r") == text.replace("Привет", "Мир")
    (tree / "a.py").write_bytes(b"# coding: nonsense\nx = '\xe9'\n")
    assert fs.read_file("a.py") == "# coding: nonsense\nx = 'é'\n"


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


def test_blocks_for_one_place_come_in_the_order_of_the_batch(tree: Path) -> None:
    (tree / "a").write_text("1\n2\n3\n")
    (tree / "b").write_text("x\n")
    places = [(1, -1), (2, 2), (3, -1)]
    fs.batch_copy(
        [
            {"source_file": "a", "start_line": line, "end_line": line, "target_file": "b", "target_line": at}
            for line, at in places
        ]
    )
    assert (tree / "b").read_text() == "x\n1\n2\n3\n"


def test_a_batch_may_copy_a_file_into_itself_with_ranges_that_overlap(tree: Path) -> None:
    (tree / "a").write_text("1\n2\n3\n")
    fs.batch_copy(
        [
            {"source_file": "a", "start_line": 1, "end_line": 3, "target_file": "./a", "target_line": 2},
            {"source_file": "a", "start_line": 2, "end_line": 3, "target_file": str(tree / "a"), "target_line": 3},
        ]
    )
    assert (tree / "a").read_text() == "1\n1\n2\n3\n2\n2\n3\n3\n"


@pytest.mark.parametrize(
    "wrong", [{"target_line": 9}, {"target_line": 0}, {"target_file": "a/b"}, {"source_file": "no"}]
)
def test_an_error_says_which_operation_of_the_batch_it_is(tree: Path, wrong: dict[str, object]) -> None:
    (tree / "a").write_text("1\n")
    good = {"source_file": "a", "start_line": 1, "end_line": 1, "target_file": "b"}
    with pytest.raises(ToolError, match=r"^operation 2: .* Nothing was copied\.$"):
        fs.batch_copy([good, {**good, **wrong}])
    assert not (tree / "b").exists()


def test_each_file_of_a_batch_is_read_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "a").write_text("1\n2\n")
    (tree / "b").write_text("x\n")
    read: list[str] = []
    source = Workspace.source
    monkeypatch.setattr(Workspace, "source", lambda work, path: (read.append(path), source(work, path))[1])
    good = {"source_file": "a", "start_line": 1, "end_line": 2, "target_file": "b"}
    fs.batch_copy([good] * 50)
    assert read == ["a"]
    assert fs.stat("b")["lines"] == 101


def test_a_lone_carriage_return_is_an_end_of_a_line_everywhere(tree: Path) -> None:
    (tree / "mac").write_bytes(b"1\r2\r3")
    (tree / "unix").write_bytes(b"x\ny\n")
    fs.paste_code("unix", 2, "a\rb\r")
    fs.batch_copy([{"source_file": "mac", "start_line": 2, "end_line": 3, "target_file": "unix", "target_line": 1}])
    assert (tree / "unix").read_bytes() == b"2\n3\nx\na\nb\ny\n"


def test_an_empty_file_has_no_lines_and_takes_some(tree: Path) -> None:
    (tree / "a").touch()
    with pytest.raises(ToolError, match="has only 0 lines"):
        fs.copy_lines("a", 1, 1)
    assert fs.paste_code("a", 1, "x") == {"file": "a", "start_line": 1, "lines_added": 1}
    assert (tree / "a").read_text() == "x"
