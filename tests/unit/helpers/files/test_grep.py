"""Searching many files, and leaving out what is not wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import code, fs, transform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def project(tree: Path) -> Path:
    for name in ("src/a.py", "src/deep/b.py", "tests/a.py", "tests/deep/c.py", "src/lib.min.js"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("import os\nold = 1\n")
    return tree


def test_lines_come_with_their_files_and_counts(project: Path) -> None:
    (project / "src" / "a.py").write_bytes(b"no\r\nOld\r\n" + b"x" * 900 + b"old\r\n")
    found = fs.grep("old", "src", "**/*.py", ignore_case=True, limit=2)
    assert found["matches"][0] == {"file": "src/a.py", "line": 2, "text": "Old"}
    assert found["matches"][1]["text"].endswith("xold")
    assert (found["total"], found["files"], found["files_looked_at"]) == (3, 2, 2)
    assert len(found["matches"][1]["text"]) < 410


def test_a_pattern_that_is_none_is_refused(project: Path) -> None:
    with pytest.raises(ToolError, match="fs.grep: pattern is not what Python's re takes"):
        fs.grep("(")


PASSES: dict[str, Callable[..., Any]] = {
    "fs.glob": lambda **more: fs.glob("**/*.py", **more),
    "fs.grep": lambda **more: [row["file"] for row in fs.grep("old", file_pattern="**/*.py", **more)["matches"]],
    "fs.search_replace": lambda **more: [
        row["file"] for row in fs.search_replace("**/*.py", "old", "new", dry_run=True, **more)["files"]
    ],
    "code.find_imports": lambda **more: [row["file"] for row in code.find_imports(".", **more)["imports"]],
    "transform.rename_identifier": lambda **more: [
        row["file"] for row in transform.rename_identifier(".", "old", "new", dry_run=True, **more)["files"]
    ],
    "transform.batch": lambda **more: [
        row["file"]
        for done in transform.batch(
            [{"operation": "change_imports", "path": ".", "old_module": "os", "new_module": "sys", **more}],
            dry_run=True,
        )["operations"]
        for row in done["files"]
    ],
}


@pytest.mark.parametrize("name", PASSES)
def test_what_is_excluded_is_passed_over_everywhere(project: Path, name: str) -> None:
    call = PASSES[name]
    assert sorted(call()) == ["src/a.py", "src/deep/b.py", "tests/a.py", "tests/deep/c.py"]
    assert sorted(call(exclude="tests/")) == ["src/a.py", "src/deep/b.py"]
    assert sorted(call(exclude=["tests/deep", "/src/a.py"])) == ["src/deep/b.py", "tests/a.py"]


def test_hidden_files_are_excluded_too(project: Path) -> None:
    (project / ".cache").mkdir()
    (project / ".cache" / "x.py").touch()
    assert fs.glob(".*/*", hidden=True, exclude=".cache") == []


@pytest.mark.parametrize("exclude", [" ", ["src", ""], "a*b*c*d*e"])
def test_what_excludes_nothing_for_certain_is_refused(project: Path, exclude: Any) -> None:
    with pytest.raises(ToolError, match="is not what a line of a .gitignore can be"):
        fs.glob(exclude=exclude)


@pytest.mark.parametrize(
    ("pattern", "note"),
    [
        ("src", "no file fits 'src': it is a folder, and a pattern fits files; 'src/**' is all in it."),
        ("./src", "no file fits './src': it is a folder, and a pattern fits files; 'src/**' is all in it."),
        (".", "no file fits '.': it is a folder, and a pattern fits files; '**/*' is all of them."),
        ("scr/**/*.py", "no file fits 'scr/**/*.py': 'scr' does not exist in tree. Did you mean 'src'?"),
        ("a.pyy", "without a '/' it is the name of a file, in any folder. Did you mean 'a.py'"),
        ("src/*.txt", "no file fits 'src/*.txt', of those that are not hidden and not ignored by git."),
        ("*.txt", "no file fits '*.txt', of those that are not hidden and not ignored by git."),
    ],
)
def test_a_pattern_that_no_file_fits_is_told_from_a_search_that_finds_nothing(
    project: Path, pattern: str, note: str
) -> None:
    facts = fs.search_replace(pattern, "old", "new")
    assert (facts["files_looked_at"], facts["files_modified"]) == (0, 0)
    assert note in facts["note"]
    assert note in fs.grep("old", file_pattern=pattern)["note"]
    assert note in code.find_functions(".", file_pattern=pattern)["note"]


def test_a_search_that_finds_nothing_says_in_how_many_files(project: Path) -> None:
    facts = fs.search_replace("src/**/*.py", "nowhere", "new")
    assert (facts["files_looked_at"], "note" in facts) == (2, False)


def test_a_long_diff_comes_in_pages(project: Path) -> None:
    (project / "src" / "a.py").write_text("old\n" * 300)
    (project / "tests" / "a.py").write_text("old\n" * 300)
    pages, offset = [], 0
    while offset is not None:
        page = fs.search_replace("**/a.py", "old", "new", dry_run=True, diff_offset=offset)
        pages += page["diff"].split("\n")
        offset = page.get("diff_next_offset")
    assert pages.count("-old") == pages.count("+new") == 600
    assert [line for line in pages if line.startswith("+++")] == ["+++ b/src/a.py", "+++ b/tests/a.py"]


def test_a_dry_run_foresees_what_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "src" / "a.py").chmod(0o444)
    with pytest.raises(ToolError, match="'src/a.py' cannot be written: it is read-only; nothing was changed"):
        fs.search_replace("**/*.py", "old", "new", dry_run=True)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    with pytest.raises(ToolError, match="nowhere to be kept"):
        fs.write_file("new.py", "x", dry_run=True)
