"""Writing all or none, and the undo journal."""

from __future__ import annotations

import base64
import fcntl
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs
from rlm.helpers.journal import UndoJournal
from rlm.helpers.opening import open_workspace
from rlm.helpers.operation_table import find
from rlm.helpers.performing import Planned, commit, plan
from tests.support.cut_off import cut_off_edit

if TYPE_CHECKING:
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


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_edit_is_none(two: Path, count: int) -> None:
    fs.write_file("a", "x")
    with pytest.raises(ToolError, match=f"from 1; not {count}"):
        fs.undo(count)
    assert (two / "a").read_text() == "x"


@pytest.mark.parametrize("count", [2, 10**30])
def test_no_more_can_be_undone_than_there_is(two: Path, count: int) -> None:
    fs.write_file("a", "x")
    with pytest.raises(ToolError, match=f"1 edits can be undone here, not {count}"):
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


def done(tree: Path) -> Path:
    """The folder of the one edit that can be undone."""
    (folder,) = Path(workspace(tree).journal).glob("*.done")
    return folder


def cut_off(tree: Path) -> Path:
    """The folder of a commit that was killed when it had replaced `a`."""
    return cut_off_edit(workspace(tree), "fs.search_replace", file_pattern="*", search="old", replace="new")


def test_a_commit_that_was_cut_off_is_rolled_back_by_the_next_call(two: Path) -> None:
    left = cut_off(two)
    assert fs.history() == []
    assert [(two / name).read_text() for name in "ab"] == ["old a\n", "old b\n"]
    assert not left.exists()


def test_what_cannot_be_rolled_back_is_kept_and_named(two: Path) -> None:
    left = cut_off(two)
    (two / "a").write_text("somebody's\n")
    with pytest.raises(
        ToolError, match="cut off, and not all of it could be taken back: these could not be restored: 'a'; .*kept in"
    ) as refused:
        fs.write_file("b", "x")
    kept = Path(workspace(two).journal) / f"{left.stem.partition('-')[2]}.stuck"
    assert f"undo/{kept.parent.name}/{kept.name} in the state folder of rlm" in str(refused.value)
    assert b"old a" in (kept / "before").read_bytes()
    assert [(two / name).read_text() for name in "ab"] == ["somebody's\n", "old b\n"]
    assert fs.write_file("b", "x")["file"] == "b"


def test_a_file_that_changed_after_it_was_replaced_is_named_when_the_rest_fails(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def failing(source: str, target: str, **kwargs: Any) -> None:
        if target == "b":
            (two / "a").write_text("somebody's\n")
            raise OSError(28, "No space left on device")
        rename(source, target, **kwargs)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(ToolError, match="these could not be restored: 'a'; what they held before is kept in"):
        fs.search_replace("*", "old", "new")
    assert [(two / name).read_text() for name in "ab"] == ["somebody's\n", "old b\n"]


def test_an_interrupt_in_the_middle_is_rolled_back_at_once(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def interrupted(source: str, target: str, **kwargs: Any) -> None:
        if target == "b":
            raise KeyboardInterrupt
        rename(source, target, **kwargs)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fs.search_replace("*", "old", "new")
    assert {path.name: path.read_text() for path in two.iterdir()} == {"a": "old a\n", "b": "old b\n"}


def test_a_damaged_journal_says_so(two: Path) -> None:
    fs.write_file("a", "x")
    (done(two) / "before").write_bytes(b"forged")
    with pytest.raises(ToolError, match="damaged: remove undo/.*done in the state folder of rlm to go on"):
        fs.undo()


@pytest.mark.parametrize("path", ["../out", ".git/hooks/pre-commit"])
def test_a_manifest_that_leads_out_changes_nothing(two: Path, path: str) -> None:
    (two / ".git" / "hooks").mkdir(parents=True)
    fs.write_file("c", "x")
    manifest = done(two) / "manifest.json"
    forged = msgspec.json.decode(manifest.read_bytes())
    forged["rows"][0]["path"] = base64.b64encode(os.fsencode(two / path)).decode()
    manifest.write_bytes(msgspec.json.encode(forged))
    with pytest.raises(ToolError, match="leads elsewhere by now"):
        fs.undo()


def test_a_file_that_became_a_link_is_not_undone_through_it(two: Path) -> None:
    fs.write_file("a", "x")
    (two / "b").write_text("x")
    (two / "a").unlink()
    (two / "a").symlink_to("b")
    with pytest.raises(ToolError, match="'a': it leads elsewhere by now"):
        fs.undo()
    assert (two / "b").read_text() == "x"


def test_the_order_of_edits_does_not_depend_on_the_clock(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs.write_file("a", "1")
    monkeypatch.setattr("rlm.helpers.journal.time.time", lambda: 0.0)
    fs.write_file("a", "2")
    fs.undo()
    assert (two / "a").read_text() == "1"


def test_edits_without_backup_in_between_are_not_taken_back(two: Path) -> None:
    fs.write_file("a", "1\n")
    fs.paste_code("a", 1, "0\n", create_backup=False)
    fs.write_file("a", "2\n")
    with pytest.raises(ToolError, match="edit that keeps no backup"):
        fs.undo(2)
    fs.undo()
    assert (two / "a").read_text() == "0\n1\n"


def test_a_file_whose_name_is_no_text_is_edited_and_undone(two: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(two) + b"/\xff.txt"))
    path.write_text("old\n")
    assert fs.search_replace("*.txt", "old", "new")["files_modified"] == 1
    assert path.read_text() == "new\n"
    fs.undo()
    assert path.read_text() == "old\n"


def test_a_file_that_grew_was_changed_and_is_not_read_to_see_it(two: Path) -> None:
    fs.write_file("a", "x")
    with (two / "a").open("r+b") as file:
        file.truncate(1 << 42)
    with pytest.raises(ToolError, match="'a' was changed since"):
        fs.undo()


def test_an_edit_waits_for_another_but_not_for_ever(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs.write_file("a", "x")
    monkeypatch.setattr("rlm.helpers.journal_folder.LOCK_S", 0.01)
    with open(f"{workspace(two).journal}/lock", "rb") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolError, match="another edit of these folders has not ended"):
            fs.write_file("a", "y")
    assert (two / "a").read_text() == "x"


@pytest.mark.parametrize("mode", [0o777, None])
def test_a_journal_that_others_may_write_in_is_not_used(
    two: Path, home: Path, tmp_path: Path, mode: int | None
) -> None:
    journals = home / "rlm" / "undo"
    journals.parent.mkdir(parents=True)
    if mode is None:
        (tmp_path / "elsewhere").mkdir()
        journals.symlink_to(tmp_path / "elsewhere")
    else:
        journals.mkdir()
        journals.chmod(mode)
    for call in (lambda: fs.write_file("a", "x"), lambda: UndoJournal(workspace(two)).undone(1, dry_run=False)):
        with pytest.raises(ToolError, match="it is a link, or others may write in it"):
            call()
    assert (two / "a").read_text() == "old a\n"


def test_a_journal_in_the_tree_is_left_alone(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(two / "state"))
    fs.search_replace("**/*", "old", "new")
    fs.search_replace("**/*", "new", "newer")
    assert fs.glob("**/*", hidden=True) == ["a", "b"]
    fs.undo(2)
    assert (two / "a").read_text() == "old a\n"


def test_what_was_staged_and_never_committed_goes(two: Path) -> None:
    entry = planned(two, "fs.write_file", path="a", content="x").entry
    staged = Path(workspace(two).journal) / f"{entry}.staged"
    os.utime(staged, (0, 0))
    assert fs.history() == []
    assert not staged.exists()


def test_the_journal_is_bounded(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.helpers.journal.MAX_ENTRIES", 3)
    for number in range(5):
        fs.write_file("a", str(number))
    assert len(fs.history()) == 3


def test_the_journal_takes_no_more_than_its_room(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.helpers.journal.MAX_BYTES", 50_000)
    for number in range(5):
        fs.write_file("a", f"{number}" * 20_000)
    assert len(fs.history()) == 2
    journal = Path(workspace(two).journal)
    assert sum(path.stat().st_size for path in journal.rglob("*") if path.is_file()) < 50_000
    fs.undo(2)
    assert (two / "a").read_text() == "2" * 20_000


def test_without_a_home_nothing_is_written(two: Path) -> None:
    homeless = open_workspace([two], ["write"], {})
    with pytest.raises(ToolError, match="undo journal has nowhere to be kept"):
        plan(homeless, find("fs.write_file"), {"path": "a", "content": "x"})
    with pytest.raises(ToolError, match="nowhere to be kept"):
        UndoJournal(homeless)
    assert (two / "a").read_text() == "old a\n"
