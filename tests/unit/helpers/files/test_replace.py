"""Search and replace over a tree: what is taken, what is left alone, what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs, open_helpers

if TYPE_CHECKING:
    from pathlib import Path


def test_all_that_fit_are_changed_and_counted(tree: Path) -> None:
    (tree / "a.py").write_text("old old\n")
    (tree / "sub").mkdir()
    (tree / "sub" / "b.py").write_text("old\n")
    (tree / "c.txt").write_text("old\n")
    facts = fs.search_replace(file_pattern="**/*.py", search="old", replace="new", regex=False)
    assert facts["files_modified"] == 2
    assert facts["total_replacements"] == 3
    assert (tree / "c.txt").read_text() == "old\n"


def test_git_hidden_ignored_and_binary_files_are_left_alone(tree: Path) -> None:
    (tree / ".git").mkdir()
    names = [".git/config", ".hidden", "ignored.txt", "a.bin"]
    for name in names:
        (tree / name).write_bytes(b"old" + b"\0" * name.endswith("bin"))
    (tree / ".gitignore").write_text("ignored.txt\n")
    facts = fs.search_replace("**/*", "old", "new")
    assert facts["files_modified"] == 0
    assert facts["left_out"]["binary"] == 1
    assert all((tree / name).read_bytes().startswith(b"old") for name in names)


def test_a_regular_expression_fits_lines_of_windows_files(tree: Path) -> None:
    (tree / "a").write_bytes(b"x = 1\r\ny = 2\r\n")
    fs.search_replace("a", r"^(\w) = (\d)$", r"\1: \g<2>", regex=True)
    assert (tree / "a").read_bytes() == b"x: 1\r\ny: 2\r\n"


def test_plain_text_is_no_pattern_and_no_template(tree: Path) -> None:
    (tree / "a").write_text("a.b AXB\n")
    fs.search_replace("a", "a.b", r"\1")
    assert (tree / "a").read_text() == "\\1 AXB\n"


@pytest.mark.parametrize(
    ("search", "replace"), [("(", "x"), ("a", r"\1"), ("a", r"\g<no>"), ("", "x"), ("a{9999999999}", "")]
)
def test_a_bad_pattern_or_template_is_refused(tree: Path, search: str, replace: str) -> None:
    with pytest.raises(ToolError, match="fs.search_replace"):
        fs.search_replace("**/*", search, replace, regex=True)


def test_a_dry_run_shows_a_diff_and_changes_nothing(tree: Path) -> None:
    (tree / "a").write_text("old\nsame\n")
    facts = fs.search_replace("a", "old", "new", dry_run=True)
    assert facts["diff"] == "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-old\n+new\n same"
    assert (tree / "a").read_text() == "old\nsame\n"
    assert fs.history() == []


def test_a_diff_is_capped(tree: Path) -> None:
    (tree / "a").write_text("old\n" * 5_000)
    facts = fs.search_replace("a", "old", "new", dry_run=True)
    assert len(facts["diff"].splitlines()) == 400
    assert facts["diff_lines_left_out"] > 9_000


@pytest.mark.parametrize(("encoding", "word"), [("utf-16", "żółć"), ("cp1252", "größe"), ("utf-8-sig", "żółć")])
def test_a_diff_shows_text_in_its_own_encoding(tree: Path, encoding: str, word: str) -> None:
    (tree / "a").write_text(f"x = '\x0c'\nold {word}\n" * 9, encoding=encoding)
    diff = fs.search_replace("a", "old", "new", dry_run=True)["diff"].splitlines()
    assert diff[2] == "@@ -1,18 +1,18 @@"
    assert f"+new {word}" in diff


def test_symlinks_are_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("old")
    (tree / "link.txt").symlink_to(tmp_path / "out.txt")
    (tree / "folder").symlink_to(tmp_path)
    assert fs.search_replace("**/*", "old", "new")["files_modified"] == 0
    assert (tmp_path / "out.txt").read_text() == "old"


@pytest.mark.parametrize(
    "path", ["../out.txt", "/etc/passwd", "a/../../out.txt", "link.txt", ".git/config", "", "a\0b"]
)
def test_paths_that_escape_are_refused(tree: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "out.txt").write_text("secret")
    (tree / "link.txt").symlink_to(tmp_path / "out.txt")
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("secret")
    for call in (
        fs.read_file,
        fs.stat,
        lambda path: fs.write_file(path, "x"),
        lambda path: fs.paste_code(path, -1, "x"),
    ):
        with pytest.raises(ToolError):
            call(path)
    assert (tmp_path / "out.txt").read_text() == "secret"


def test_a_line_of_100_mb_is_left_out_and_said(tree: Path) -> None:
    with (tree / "long.txt").open("wb") as file:
        file.truncate(100 << 20)
    facts = fs.search_replace("**/*", "old", "new")
    assert facts["left_out"]["too_large"] == ["long.txt"]
    with pytest.raises(ToolError, match="larger than"):
        fs.read_file("long.txt")


def test_rights_are_asked_for(tree: Path) -> None:
    (tree / "a").write_text("old")
    reader = open_helpers(tree, rights=["read"])
    assert reader.fs.read_file("a") == "old"
    with pytest.raises(ToolError, match="no 'write'"):
        reader.fs.search_replace("a", "old", "new")
    with pytest.raises(ToolError, match="no 'read'"):
        open_helpers(tree, rights=["write"]).fs.read_file("a")


def test_a_long_listing_is_capped(tree: Path) -> None:
    for number in range(250):
        (tree / f"{number}.txt").write_text("old")
    facts = fs.search_replace("*.txt", "old", "new")
    assert (facts["files_modified"], len(facts["files"]), facts["files_not_listed"]) == (250, 200, 50)


def test_the_cap_of_an_edit_says_that_it_counts_files_before_and_after(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlm.helpers.changes.MAX_EDIT_BYTES", 100)
    (tree / "a.txt").write_text("x" * 50)
    assert fs.search_replace("a.txt", "x", "y")["total_replacements"] == 50
    (tree / "a.txt").write_text("x" * 51)
    with pytest.raises(ToolError, match=r"before and after it are 102 bytes together, and 100 is the most"):
        fs.search_replace("a.txt", "x", "y")
    assert (tree / "a.txt").read_text() == "x" * 51
