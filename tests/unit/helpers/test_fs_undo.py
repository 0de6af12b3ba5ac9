"""Writing all or none, and the undo journal."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs
from rlm.helpers.journal import Journal
from rlm.helpers.opening import open_workspace
from rlm.helpers.operations import find
from rlm.helpers.performing import Planned, commit, plan

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.helpers.workspace import Workspace


def workspace(tree: Path) -> Workspace:
    return open_workspace([tree], ["read", "write"], os.environ)


def planned(tree: Path, name: str, **arguments: Any) -> Planned:
    return plan(workspace(tree), find(name), arguments)


@pytest.fixture
def two(tree: Path) -> Path:
    (tree / "a").write_text("old a\n")
    (tree / "b").write_text("old b\n")
    return tree


def test_the_last_edits_are_taken_back(two: Path) -> None:
    fs.search_replace("*", "old", "new")
    fs.write_file("c", "made\n")
    assert fs.undo(2) == {"undone": 2, "files_restored": 3, "files": ["c", "a", "b"]}
    assert sorted(path.name for path in two.iterdir()) == ["a", "b"]
    assert (two / "a").read_text() == "old a\n"
    assert fs.history() == []


def test_an_undo_is_refused_where_a_file_was_changed_since(two: Path) -> None:
    fs.search_replace("*", "old", "new")
    (two / "b").write_text("mine\n")
    with pytest.raises(ToolError, match="'b' was changed since: nothing was undone"):
        fs.undo()
    assert (two / "a").read_text() == "new a\n"


@pytest.mark.parametrize("count", [0, -1, 2])
def test_no_more_can_be_undone_than_there_is(two: Path, count: int) -> None:
    fs.write_file("a", "x")
    with pytest.raises(ToolError, match="1 edits can be undone here"):
        fs.undo(count)


def test_an_edit_without_backup_cannot_be_undone(two: Path) -> None:
    fs.paste_code("a", 1, "x\n", create_backup=False)
    assert fs.history() == []


def test_the_journal_is_the_users_alone(two: Path, home: Path) -> None:
    fs.search_replace("*", "old", "new")
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (home / "rlm" / "undo").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}


def test_the_mode_of_a_file_is_kept(two: Path) -> None:
    (two / "a").chmod(0o750)
    fs.write_file("a", "x")
    assert stat.S_IMODE((two / "a").stat().st_mode) == 0o750


def test_a_file_changed_between_plan_and_writing_stops_all(two: Path) -> None:
    done = planned(two, "fs.search_replace", file_pattern="*", search="old", replace="new")
    (two / "b").write_text("mine\n")
    with pytest.raises(ToolError, match="'b' cannot be written: it was changed meanwhile; nothing was changed"):
        commit(workspace(two), done)
    assert (two / "a").read_text() == "old a\n"
    assert sorted(path.name for path in two.iterdir()) == ["a", "b"]


def test_a_file_that_vanished_stops_all(two: Path) -> None:
    done = planned(two, "fs.search_replace", file_pattern="*", search="old", replace="new")
    (two / "b").unlink()
    with pytest.raises(ToolError, match="nothing was changed"):
        commit(workspace(two), done)
    assert (two / "a").read_text() == "old a\n"


def test_a_folder_that_became_a_symlink_is_not_followed(tree: Path, tmp_path: Path) -> None:
    (tree / "sub").mkdir()
    (tree / "sub" / "a").write_text("old")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("old")
    done = planned(tree, "fs.write_file", path="sub/a", content="new")
    (tree / "sub" / "a").unlink()
    (tree / "sub").rmdir()
    (tree / "sub").symlink_to(outside)
    with pytest.raises(ToolError):
        commit(workspace(tree), done)
    assert (outside / "a").read_text() == "old"


def test_a_read_only_file_stops_all(two: Path) -> None:
    (two / "b").chmod(0o444)
    with pytest.raises(ToolError, match="read-only.*nothing was changed"):
        fs.search_replace("*", "old", "new")
    assert (two / "a").read_text() == "old a\n"
    assert sorted(path.name for path in two.iterdir()) == ["a", "b"]


def test_a_failure_between_two_files_is_rolled_back(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = os.rename, []

    def failing(*args: Any, **kwargs: Any) -> None:
        if "src_dir_fd" in kwargs:
            calls.append(args)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
        rename(*args, **kwargs)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(ToolError, match="No space left on device; nothing was changed"):
        fs.search_replace("*", "old", "new")
    assert [(two / name).read_text() for name in "ab"] == ["old a\n", "old b\n"]
    assert sorted(path.name for path in two.iterdir()) == ["a", "b"]


def test_a_commit_cut_off_by_a_kill_is_rolled_back_by_the_next(two: Path) -> None:
    entry = planned(two, "fs.search_replace", file_pattern="*", search="old", replace="new").entry
    assert entry is not None
    journal = workspace(two).journal
    os.rename(f"{journal}/{entry}.staged", f"{journal}/{entry}.committing")  # noqa: PTH104
    (two / "a").write_text("new a\n")  # as far as it came
    assert fs.history() == []
    assert [(two / name).read_text() for name in "ab"] == ["old a\n", "old b\n"]


def test_a_damaged_journal_says_so(two: Path) -> None:
    fs.write_file("a", "x")
    (folder,) = (path for path in os.scandir(workspace(two).journal) if path.name.endswith(".done"))
    with open(f"{folder.path}/0.before", "wb") as file:  # noqa: PTH123
        file.write(b"forged")
    with pytest.raises(ToolError, match="damaged"):
        fs.undo()


def test_a_manifest_that_leads_out_changes_nothing(two: Path, tmp_path: Path) -> None:
    fs.write_file("a", "x")
    (folder,) = (path for path in os.scandir(workspace(two).journal) if path.name.endswith(".done"))
    with open(f"{folder.path}/manifest.json", "r+b") as file:  # noqa: PTH123
        manifest = msgspec.json.decode(file.read())
        manifest["rows"][0]["path"] = str(tmp_path / "out")
        file.seek(0)
        file.write(msgspec.json.encode(manifest))
        file.truncate()
    with pytest.raises(ToolError, match="outside"):
        fs.undo()


def test_the_journal_is_bounded(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.helpers.journal.MAX_ENTRIES", 3)
    for number in range(5):
        fs.write_file("a", str(number))
    assert len(fs.history()) == 3


def test_without_a_home_nothing_is_written(two: Path) -> None:
    homeless = open_workspace([two], ["write"], {})
    with pytest.raises(ToolError, match="no home for the undo journal"):
        plan(homeless, find("fs.write_file"), {"path": "a", "content": "x"})
    with pytest.raises(ToolError, match="no home"):
        Journal(homeless)
    assert (two / "a").read_text() == "old a\n"
