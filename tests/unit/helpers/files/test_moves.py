"""Files and folders that move or go, with the way back."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs

if TYPE_CHECKING:
    from pathlib import Path

BINARY = b"\x7fELF\2\1\1" + bytes(9)
FILES = {"a.txt": b"a\n", "pkg/.hidden": b"h\n", "pkg/deep/x.bin": BINARY, "pkg/run.sh": b"#!/bin/sh\n"}


def below(tree: Path) -> dict[str, bytes | None]:
    """Every file with its content, and every empty folder."""
    found = {path.relative_to(tree).as_posix(): path for path in sorted(tree.rglob("*"))}
    return {
        name: None if path.is_dir() else path.read_bytes()
        for name, path in found.items()
        if path.is_file() or not any(path.iterdir())
    }


@pytest.fixture
def project(tree: Path) -> Path:
    for name, content in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "pkg" / "run.sh").chmod(0o755)
    return tree


def test_a_folder_moves_whole_with_its_modes_and_comes_back(project: Path) -> None:
    facts = fs.move("pkg", "lib/new")
    assert facts == {"files_moved": 3, "to": "lib/new", "folders_made": ["lib", "lib/new", "lib/new/deep"]}
    moved = {name.replace("pkg", "lib/new"): content for name, content in FILES.items()}
    assert below(project) == moved
    assert stat.S_IMODE((project / "lib" / "new" / "run.sh").stat().st_mode) == 0o755
    fs.undo()
    assert below(project) == FILES
    assert stat.S_IMODE((project / "pkg" / "run.sh").stat().st_mode) == 0o755


def test_a_file_moves_into_a_folder_that_is_there(project: Path) -> None:
    assert fs.move("a.txt", "pkg")["to"] == "pkg/a.txt"
    assert (project / "pkg" / "a.txt").read_bytes() == b"a\n"


def test_files_and_folders_go_and_come_back(project: Path) -> None:
    facts = fs.delete(["a.txt", "pkg/deep", "pkg/deep/x.bin"])
    assert facts == {"files_deleted": 2, "files": ["a.txt", "pkg/deep/x.bin"]}
    assert below(project) == {name: FILES[name] for name in ("pkg/.hidden", "pkg/run.sh")}
    fs.undo()
    assert below(project) == FILES


def test_the_folder_of_a_file_stays(project: Path) -> None:
    fs.delete("pkg/deep/x.bin")
    assert (project / "pkg" / "deep").is_dir()


def test_a_dry_run_names_what_would_go(project: Path) -> None:
    diff = fs.delete("pkg", dry_run=True)["diff"]
    assert "--- a/pkg/run.sh\n+++ /dev/null" in diff
    assert "--- a/pkg/deep/x.bin\n+++ /dev/null\n@@ binary @@" in diff
    assert below(project) == FILES


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("a.txt", "pkg/run.sh", "there is 'pkg/run.sh' already"),
        ("pkg", "pkg/deep/pkg", "'pkg/deep/pkg' is inside of 'pkg'"),
        (".", "elsewhere", "is all that is allowed here"),
        ("gone", "elsewhere", "'gone' does not exist"),
        ("link.txt", "b.txt", "'link.txt' is reached by a symlink, and is 'a.txt'"),
        ("linked/run.sh", "b.txt", "'linked/run.sh' is reached by a symlink, and is 'pkg/run.sh'"),
        ("a.txt", "../out.txt", "outside of what may be read"),
        ("a.txt", ".git/config", "inside of .git"),
    ],
)
def test_what_can_not_be_moved_is_refused(project: Path, source: str, target: str, told: str) -> None:
    (project / "link.txt").symlink_to("a.txt")
    (project / "linked").symlink_to("pkg")
    with pytest.raises(ToolError, match=told):
        fs.move(source, target)
    assert all((project / name).read_bytes() == content for name, content in FILES.items())


def test_symlinks_in_a_folder_stay_and_are_counted(project: Path) -> None:
    (project / "pkg" / "link").symlink_to("../a.txt")
    assert fs.delete("pkg")["left_out"] == {"symlinks": 1}
    assert below(project) == {"a.txt": b"a\n", "pkg/link": b"a\n"}


@pytest.mark.parametrize("git", ["pkg/.git", "pkg/deep/.git"])
def test_a_folder_with_a_repository_in_it_stays_whole(project: Path, git: str) -> None:
    (project / git).mkdir()
    for call in (lambda: fs.move("pkg", "new"), lambda: fs.delete("pkg")):
        with pytest.raises(ToolError, match="'pkg' has a git repository in it"):
            call()
    assert (project / "pkg" / "run.sh").exists()


def test_a_file_too_large_to_be_kept_is_not_deleted(project: Path) -> None:
    with (project / "pkg" / "big").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(ToolError, match="'pkg/big' can't be kept for undo, so nothing was changed"):
        fs.delete("pkg")
    assert (project / "pkg" / "big").exists()
