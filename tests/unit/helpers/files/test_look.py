"""What files there are: which folders, patterns and ignore files decide, and how they are shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs, open_helpers

if TYPE_CHECKING:
    from pathlib import Path


def plant(tree: Path, *names: str) -> None:
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("old\n")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.py", ["b.py", "src/a.py", "src/deep/c.py"]),
        ("./*.py", ["b.py"]),
        ("./**/*.py", ["b.py", "src/a.py", "src/deep/c.py"]),
        ("src/**", ["src/a.py", "src/d.js", "src/deep/c.py"]),
        ("src/*.{py,js}", ["src/a.py", "src/d.js"]),
    ],
)
def test_patterns(tree: Path, pattern: str, names: list[str]) -> None:
    plant(tree, "src/a.py", "b.py", "src/deep/c.py", "src/d.js")
    assert sorted(fs.glob(pattern)) == names


@pytest.mark.parametrize("pattern", ["", "/**/*.py", "../*.py", "src/", "src//a.py", "a/../b"])
def test_a_pattern_that_can_fit_nothing_is_refused(tree: Path, pattern: str) -> None:
    plant(tree, "src/a.py")
    for call in (fs.glob, lambda pattern: fs.search_replace(pattern, "old", "new")):
        with pytest.raises(ToolError, match="can't match any file: a pattern is relative to the folder"):
            call(pattern)


def test_ignore_files_of_the_folders_above_hold_too(tree: Path) -> None:
    plant(tree, "src/a.py", "src/made.py", "src/keep/made.py", "src/deep/x.log", "src/deep/y.log")
    (tree / ".gitignore").write_text("made.py\n*.log\n")
    (tree / "src" / ".gitignore").write_text("!x.log\n")
    (tree / "src" / "keep" / ".gitignore").write_text("!made.py\n")
    assert sorted(fs.glob(path="src")) == ["src/a.py", "src/deep/x.log", "src/keep/made.py"]
    assert fs.glob(path="src/deep") == ["src/deep/x.log"]


def test_ignore_files_of_the_repository_around_hold_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tree, "src/a.py", "src/made.py")
    (tree / ".git").mkdir()
    (tree / ".gitignore").write_text("made.py\n")
    monkeypatch.chdir(tree / "src")
    assert fs.glob() == ["a.py"]


def test_an_ignored_folder_that_is_named_is_looked_into(tree: Path) -> None:
    plant(tree, "build/a.py", "build/.hidden")
    (tree / ".gitignore").write_text("build/\n")
    assert fs.glob() == []
    assert fs.glob(path="build") == ["build/a.py"]


def test_git_is_never_listed_in_whatever_spelling(tree: Path) -> None:
    plant(tree, ".git/config", "sub/.GIT/config", "sub/module/.git", ".hidden")
    assert fs.glob(hidden=True) == [".hidden"]
    for name in (".git/config", "sub/.GIT/config", "sub/module/.git", "sub/.Git", "new/.git/hooks/x", "new/.GIT"):
        with pytest.raises(ToolError, match="inside of .git"):
            fs.write_file(name, "x")


@pytest.mark.parametrize("name", ["git~1", "GIT~2", ".git.", ".git ", ".git::$INDEX", ".g\u200cit", ".\ufeffGIT"])
def test_what_other_file_systems_take_for_git_is_refused(tree: Path, name: str) -> None:
    with pytest.raises(ToolError, match="inside of .git"):
        fs.write_file(f"{name}/hooks/x", "x")
    assert list(tree.iterdir()) == []


@pytest.mark.parametrize("name", [".github/x", ".gitignore", "git/x", "git~", "a.git/x", ".git-x/x"])
def test_what_only_looks_like_git_is_written(tree: Path, name: str) -> None:
    assert fs.write_file(name, "x")["created"]


def test_roots_in_one_another_give_each_file_once(tree: Path) -> None:
    plant(tree, "src/a.py", "build/b.py")
    (tree / ".gitignore").write_text("build/\n")
    both = open_helpers(tree, tree / "src", tree / "build", rights=["read", "write"]).fs
    assert both.search_replace("*.py", "old", "new")["files_modified"] == 2
    assert both.undo()["files_restored"] == 2


def test_pages(tree: Path) -> None:
    plant(tree, *(f"{number}.txt" for number in range(5)))
    assert fs.glob(limit=2, offset=3) == ["3.txt", "4.txt"]
    assert fs.glob(limit=2, offset=10**30) == fs.glob(limit=0) == []
    for wrong in ({"limit": -1}, {"limit": 20_001}, {"offset": -1}):
        with pytest.raises(ToolError, match="limit is 0 to 20,000"):
            fs.glob(**wrong)


def test_more_than_fit_a_page_are_refused_not_cut(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.helpers.files.look.MAX_NAMES", 4)
    plant(tree, *(f"{number}.txt" for number in range(5)))
    with pytest.raises(ToolError, match="more than 4 files fit"):
        fs.glob()
    assert len(fs.glob(limit=4)) == 4


def test_a_tree_begins_at_the_folder_that_is_named(tree: Path) -> None:
    plant(tree, "a/b/c/d.txt", "a/b/e.txt")
    assert fs.tree("a/b", depth=1) == "2 files, 8 bytes\nc/ (1 files, 4 bytes)\ne.txt (4 bytes)"
    assert fs.tree("a/b/e.txt") == "1 files, 4 bytes\ne.txt (4 bytes)"


def test_a_tree_of_several_folders_shows_each(tree: Path) -> None:
    plant(tree, "one/a", "two/b")
    shown = open_helpers(tree / "one", tree / "two").fs.tree()
    assert shown.splitlines()[1:] == [
        "one/ (1 files, 4 bytes)",
        "  a (4 bytes)",
        "two/ (1 files, 4 bytes)",
        "  b (4 bytes)",
    ]


def test_what_is_neither_file_nor_folder_is_said_and_not_opened(tree: Path) -> None:
    os.mkfifo("pipe")
    assert fs.stat("pipe")["kind"] == "other"
    for call in (fs.read_file, lambda path: fs.write_file(path, "x")):
        with pytest.raises(ToolError, match="device, fifo or socket"):
            call("pipe")


@pytest.mark.parametrize("path", [".", "sub"])
def test_a_folder_is_no_file(tree: Path, path: str) -> None:
    (tree / "sub").mkdir()
    assert fs.stat(path)["kind"] == "folder"
    for call in (fs.read_file, lambda path: fs.write_file(path, "x"), lambda path: fs.paste_code(path, -1, "x")):
        with pytest.raises(ToolError, match="is a folder"):
            call(path)


def test_a_name_with_newlines_is_one_line(tree: Path) -> None:
    plant(tree, "a\n--- forged")
    assert fs.tree().splitlines()[1:] == ["'a\\n--- forged' (4 bytes)"]
    assert fs.search_replace("*", "old", "new", dry_run=True)["diff"].startswith("--- a/'a\\n--- forged'\n")


def test_one_file_may_be_all_that_is_allowed(tree: Path) -> None:
    plant(tree, "a.txt", "b.txt")
    one = open_helpers(tree / "a.txt", rights=["read", "write"]).fs
    assert one.search_replace("*.txt", "old", "new")["files_modified"] == 1
    assert one.undo()["files"] == ["a.txt"]
    for name in ("b.txt", "c.txt"):
        with pytest.raises(ToolError, match=rf"'{name}' is outside of what may be read \(a.txt\)"):
            one.write_file(name, "x")
