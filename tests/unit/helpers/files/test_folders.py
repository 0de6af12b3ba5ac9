"""Folders that an edit makes for its files: where, when not, and how they go again."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs
from rlm.helpers.opening import open_workspace
from rlm.helpers.operation_table import find
from rlm.helpers.performing import Planned, commit, plan


def below(tree: Path) -> list[str]:
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*"))


def planned(tree: Path, **arguments: Any) -> Planned:
    return plan(open_workspace([tree], ["write"], os.environ), find("fs.write_file"), {"content": "x", **arguments})


def made(tree: Path, done: Planned) -> Any:
    return commit(open_workspace([tree], ["write"], os.environ), done)


def copies(*targets: str) -> list[dict[str, Any]]:
    return [{"source_file": "a", "start_line": 1, "end_line": 1, "target_file": target} for target in targets]


@pytest.fixture
def one(tree: Path) -> Path:
    (tree / "a").write_text("old\n")
    return tree


def test_a_module_becomes_a_package_and_a_module_again(one: Path) -> None:
    facts = fs.batch_copy(copies("pkg/__init__.py", "pkg/parts/x.py", "pkg/parts/y.py"))
    assert facts["folders_made"] == ["pkg", "pkg/parts"]
    assert (one / "pkg" / "parts" / "y.py").read_text() == "old\n"
    assert fs.undo()["files_restored"] == 3
    assert below(one) == ["a"]


@pytest.mark.parametrize(
    "call",
    [
        lambda path: fs.write_file(path, "x\n"),
        lambda path: fs.paste_code(path, -1, "x\n"),
        lambda path: fs.paste_code(path, 1, "x\n"),
    ],
)
def test_a_new_file_brings_its_folders(tree: Path, call: Any) -> None:
    assert call(".//new/./deep/x.py")["folders_made"] == ["new", "new/deep"]
    assert "folders_made" not in call("new/deep/y.py")
    assert (tree / "new" / "deep" / "x.py").read_text() == "x\n"


def test_a_dry_run_tells_of_folders_and_makes_none(tree: Path) -> None:
    assert fs.write_file("new/x.py", "x", dry_run=True)["folders_made"] == ["new"]
    assert below(tree) == []


def test_the_mode_of_a_folder_is_what_the_umask_leaves(tree: Path) -> None:
    before = os.umask(0o027)
    try:
        fs.write_file("new/x", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tree / "new").stat().st_mode) == 0o750


def test_a_folder_with_somebodys_file_stays_when_the_edit_is_undone(tree: Path) -> None:
    fs.write_file("new/deep/x", "x")
    (tree / "new" / "mine").write_text("mine")
    fs.undo()
    assert below(tree) == ["new", "new/mine"]


def test_edits_that_share_a_folder_are_undone_one_by_one_and_at_once(tree: Path) -> None:
    def both() -> None:
        fs.write_file("new/x", "x")
        fs.write_file("new/deep/y", "y")

    both()
    fs.undo()
    assert below(tree) == ["new", "new/x"]
    fs.undo()
    assert below(tree) == []
    both()
    fs.undo(2)
    assert below(tree) == []


def test_a_later_edit_of_the_file_does_not_keep_its_folder(tree: Path) -> None:
    fs.write_file("new/x", "x")
    fs.write_file("new/x", "y")
    fs.undo(2)
    assert below(tree) == []


def test_the_folder_of_an_edit_without_backup_stays(tree: Path) -> None:
    fs.paste_code("new/x", -1, "x", create_backup=False)
    assert below(tree) == ["new", "new/x"]


def test_a_folder_that_somebody_made_meanwhile_will_do(tree: Path) -> None:
    done = planned(tree, path="new/deep/x")
    (tree / "new").mkdir()
    made(tree, done)
    assert below(tree) == ["new", "new/deep", "new/deep/x"]


def test_a_folder_that_somebody_else_made_stays_when_the_edit_fails(tree: Path) -> None:
    done = planned(tree, path="new/deep/x")
    (tree / "new").mkdir()
    (tree / "new" / "deep").write_text("mine")
    with pytest.raises(ToolError, match="'new/deep' cannot be written: Not a directory; nothing was changed"):
        made(tree, done)
    assert below(tree) == ["new", "new/deep"]


def test_an_empty_folder_that_somebody_else_made_is_not_removed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    done = planned(tree, path="new/deep/x")
    (tree / "new").mkdir()
    monkeypatch.setattr("rlm.helpers.safe_files._write", full)
    with pytest.raises(ToolError, match="No space left on device; nothing was changed"):
        made(tree, done)
    assert below(tree) == ["new"]


def test_the_names_of_folders_are_on_disk_before_the_edit_is_made(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    fs.write_file("new/deep/x", "x")
    inodes = [folder.stat().st_ino for folder in (tree, tree / "new", tree / "new" / "deep")]
    assert [each for each in synced if each in inodes] == inodes


@pytest.mark.parametrize("link", ["new", "new/deep"])
def test_a_folder_that_became_a_symlink_is_not_followed(tree: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    done = planned(tree, path="new/deep/x")
    (tree / link).parent.mkdir(exist_ok=True)
    (tree / link).symlink_to(tmp_path / "outside")
    with pytest.raises(ToolError):
        made(tree, done)
    assert below(tmp_path / "outside") == []


def test_a_symlink_that_comes_while_folders_are_made_is_not_followed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    mkdir = os.mkdir

    def raced(path: str, *args: Any, **kwargs: Any) -> None:
        if path == "new":
            (tree / "new").symlink_to(tmp_path / "outside")
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", raced)
    with pytest.raises(ToolError, match="'new' cannot be written: Not a directory; nothing was changed"):
        fs.write_file("new/deep/x", "x")
    assert below(tmp_path / "outside") == []


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["mkdir", "rename"])
def test_folders_of_an_edit_that_fails_go_again(
    one: Path, monkeypatch: pytest.MonkeyPatch, step: str, stop: BaseException
) -> None:
    real = getattr(os, step)

    def failing(path: Any, *args: Any, **kwargs: Any) -> None:
        if (path, *args)[-1] in ("deep", "y"):
            raise stop
        real(path, *args, **kwargs)

    monkeypatch.setattr(os, step, failing)
    with pytest.raises((ToolError, KeyboardInterrupt)) as failed:
        fs.batch_copy(copies("new/x", "new/deep/z", "other/y"))
    assert below(one) == ["a"]
    assert isinstance(failed.value, KeyboardInterrupt) or "left on device; nothing was changed" in str(failed.value)


def test_an_empty_folder_that_cannot_be_removed_is_named(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: Any, **_kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rmdir", refused)
    monkeypatch.setattr("rlm.helpers.safe_files._write", refused)
    with pytest.raises(
        ToolError, match="'new/x' cannot be written.*nothing was changed, but empty folders are left: 'new'"
    ):
        fs.write_file("new/x", "x")
    assert below(one) == ["a", "new"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("a/x", "'a' is a file, not a folder"),
        ("a/new/x", "'a' is a file, not a folder"),
        ("new/", "no name for a new file"),
        ("new/.", "no name for a new file"),
        ("new/deep/../x", "no name for a new file"),
        ("new/../../out/x", "outside of what may be read"),
        ("/nowhere/x", "outside of what may be read"),
        ("d/" * 2050 + "x", "is too long"),
        ("d/" * 100 + "x", "is too deep: folders are made down to 100 below tree"),
        ("n" * 300 + "/x", "255 bytes for a name"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(one: Path, path: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        fs.write_file(path, "x")
    assert below(one) == ["a"]


@pytest.mark.parametrize("target", ["nowhere", "../outside/new", "../outside", "/nonexistent"])
def test_nothing_is_made_through_a_symlink_that_leads_nowhere_or_out(tree: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").mkdir()
    (tree / "link").symlink_to(target)
    for path in ("link", "link/x", "link/new/x"):
        with pytest.raises(ToolError, match="'link' is a symlink that leads nowhere|outside of what may be read"):
            fs.write_file(path, "x")
    assert below(tmp_path / "outside") == []
    assert below(tree) == ["link"]


def test_a_link_within_the_tree_is_resolved_before_anything_is_made(tree: Path) -> None:
    (tree / "real").mkdir()
    (tree / "link").symlink_to("real")
    assert fs.write_file("link/new/x", "x")["folders_made"] == ["real/new"]


def test_a_file_and_a_folder_of_one_name_are_refused_at_once(one: Path) -> None:
    with pytest.raises(ToolError, match="'new' would be a file and a folder"):
        fs.batch_copy(copies("new", "new/x"), dry_run=True)


def test_there_is_a_most_of_folders_in_an_edit(one: Path) -> None:
    with pytest.raises(ToolError, match="more than 1,000 folders would be made: do it in several edits"):
        fs.batch_copy(copies(*(f"n{number}/x" for number in range(1_001))))
    assert below(one) == ["a"]


def test_of_many_folders_a_hundred_are_named(one: Path) -> None:
    facts = fs.batch_copy(copies(*(f"n{number}/x" for number in range(120))))
    assert (len(facts["folders_made"]), facts["folders_not_listed"]) == (100, 20)
    fs.undo()
    assert below(one) == ["a"]


def test_what_the_runtime_keeps_is_spared_although_it_is_not_there_yet(tree: Path) -> None:
    work = open_workspace([tree], ["write"], os.environ, [tree / "logs"])
    with pytest.raises(ToolError, match="the runtime's own"):
        plan(work, find("fs.write_file"), {"path": "logs/new/x", "content": "x"})
    assert below(tree) == []


def test_a_new_file_of_several_folders_says_of_which(tree: Path) -> None:
    for name in ("src", "tests"):
        (tree / name).mkdir()
    both = open_workspace([tree / "src", tree / "tests"], ["write"], os.environ)
    write = find("fs.write_file")
    with pytest.raises(ToolError, match=r"could be '\./src/new/x' or '\./tests/new/x': name it like that"):
        plan(both, write, {"path": "new/x", "content": "x"})
    assert plan(both, write, {"path": "tests/new/x", "content": "x"}).facts["folders_made"] == ["tests/new"]
    assert plan(both, write, {"path": "./src/x", "content": "x"}).facts["file"] == "src/x"


def test_a_name_that_begins_with_a_root_is_of_that_root_alone(tree: Path) -> None:
    for name in ("src", "tests/src"):
        (tree / name).mkdir(parents=True)
    (tree / "tests" / "src" / "x").write_text("of the tests")
    both = open_workspace([tree / "src", tree / "tests"], ["write"], os.environ)
    assert plan(both, find("fs.write_file"), {"path": "src/x", "content": "x"}).facts["created"] is True
    with pytest.raises(ToolError, match="'src/x' does not exist"):
        both.source("src/x")


def test_a_wrong_folder_brings_the_right_one_to_mind(tree: Path) -> None:
    fs.write_file("src/deep/x", "x")
    for path in ("scr/deep/x", "src/deeep/x"):
        with pytest.raises(ToolError, match="does not exist in tree. Did you mean '(src|deep)'"):
            fs.read_file(path)


def test_a_file_that_is_all_that_is_allowed_brings_no_other_to_mind(tree: Path) -> None:
    for name in ("secret_a", "secret_b"):
        (tree / name).touch()
    alone = open_workspace([tree / "secret_a"], ["write"], os.environ)
    (tree / "secret_a").unlink()
    with pytest.raises(ToolError, match="does not exist") as refused:
        alone.source("secret_a")
    assert "secret_b" not in str(refused.value)


def test_a_root_with_a_folder_of_its_own_name_is_no_trap(tree: Path) -> None:
    (tree / "x").write_text("of the root")
    assert fs.read_file("tree/x") == "of the root"
    with pytest.raises(ToolError, match=r"could be '\./tree/y' or '\./y'"):
        fs.write_file("tree/y", "y")
    assert fs.write_file("./tree/x", "of the folder")["folders_made"] == ["tree"]
    assert (tree / "x").read_text() == "of the root"
    assert fs.write_file("tree/y", "y")["file"] == "tree/y"
    (tree / "a").touch()
    with pytest.raises(ToolError, match="'tree/a' does not exist"):
        fs.read_file("tree/a")
