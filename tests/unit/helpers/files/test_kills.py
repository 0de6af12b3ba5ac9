"""An edit, an undo and a roll-back, killed before each of their steps in turn: the next call finds all or nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rlm.helpers import fs
from rlm.helpers.opening import open_workspace
from tests.support.cut_off import cut_off_edit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.scandir", "os.listdir", "fsync"}
OLD = {"a": "old a\n", "b": "old b\n"}
NEW = {"a": "new a\n", "b": "new b\n"}
FOLDER = "a folder"
PACKAGE = {"pkg": FOLDER, "pkg/deep": FOLDER, "pkg/deep/x": OLD["a"], "pkg/y": OLD["b"]}


def edit() -> Any:
    return fs.search_replace("*", "old", "new")


def make_package() -> Any:
    each = {"start_line": 1, "end_line": 1}
    copies = [{"source_file": "a", "target_file": "pkg/deep/x"}, {"source_file": "b", "target_file": "pkg/y"}]
    return fs.batch_copy([{**each, **copy} for copy in copies])


def content(tree: Path) -> dict[str, str]:
    found = {path.relative_to(tree).as_posix(): path for path in sorted(tree.rglob("*"))}
    return {name: FOLDER if path.is_dir() else path.read_text() for name, path in found.items()}


def killed_before(step: int, act: Callable[[], object]) -> bool:
    """Do it in a process that is killed before its `step`th step; whether it had so many."""
    child = os.fork()
    if child == 0:
        try:
            _die_before(step)
            act()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _die_before(step: int) -> None:
    left = step

    def count(event: str, _arguments: object = None) -> None:
        nonlocal left
        if event in STEPS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = lambda _fd: count("fsync")
    sys.addaudithook(count)


@pytest.fixture(scope="module")
def forker() -> Iterator[Executor]:
    """A process that is quickly forked; that of the tests holds all of them."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as made:
        yield made


@pytest.fixture
def outcomes(forker: Executor, tree: Path, home: Path) -> Callable[..., list[dict[str, str]]]:
    return lambda prepare, act, then=look: forker.submit(_outcomes, (tree, home), prepare, act, then).result()


def _outcomes(
    places: tuple[Path, Path], prepare: Callable[[], object], act: Callable[[], object], then: Callable[[], object]
) -> list[dict[str, str]]:
    """What the tree holds after each possible kill and one more call."""
    tree, home = places
    os.environ["XDG_STATE_HOME"] = str(home)
    os.fsync = lambda _fd: None  # a kill loses nothing that waits for the disk
    _load(tree)
    found = []
    step, more = 1, True
    while more:
        for folder in (tree, home):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        os.chdir(tree)
        for name, text in OLD.items():
            (tree / name).write_text(text)
        prepare()
        more = killed_before(step, act)
        then()
        found.append({**content(tree), "edits": str(len(fs.history()))})
        assert not [path.name for path in home.rglob("*") if path.suffix in (".committing", ".stuck", ".trash")]
        step += 1
    return found


def kinds(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """The different ones, in the order that they came."""
    return [each for number, each in enumerate(found) if each not in found[:number]]


def _load(tree: Path) -> None:
    """Have everything imported, so that each step is one of the edit's own."""
    os.chdir(tree)
    (tree / "a").write_text("old")
    edit()
    fs.undo()


def nothing() -> None:
    return


def edit_and_write() -> Any:
    edit()
    return fs.write_file("c", "made\n")


def undo() -> Any:
    return fs.undo()


def make_folder() -> None:
    Path("pkg").mkdir()
    Path("pkg/x").write_text("x")


def move() -> Any:
    return fs.move("pkg", "new")


def undo_both() -> Any:
    return fs.undo(2)


def look() -> Any:
    return fs.history()


def begin_a_roll_back_of_files() -> None:
    work = open_workspace([Path()], ["write"], os.environ)
    cut_off_edit(work, "fs.search_replace", file_pattern="*", search="old", replace="new")


def begin_a_roll_back_of_folders() -> None:
    work = open_workspace([Path()], ["write"], os.environ)
    cut_off_edit(work, "fs.write_file", 0, path="pkg/deep/x", content="x")


def test_an_edit_is_made_or_not(outcomes: Any) -> None:
    found = outcomes(nothing, edit)
    assert kinds(found) == [{"edits": "0", **OLD}, {"edits": "1", **NEW}]
    assert len(found) > 40


def test_an_edit_that_is_made_again_changes_what_is_left_to_change(outcomes: Any) -> None:
    found = outcomes(nothing, edit, edit)
    assert kinds(found) == [{"edits": "1", **NEW}]
    assert len(found) > 40


def test_an_undo_is_made_or_not(outcomes: Any) -> None:
    found = outcomes(edit_and_write, undo_both)
    assert kinds(found) == [{"edits": "2", **NEW, "c": "made\n"}, {"edits": "0", **OLD}]


def test_a_roll_back_that_is_killed_is_carried_on(outcomes: Any) -> None:
    found = outcomes(begin_a_roll_back_of_files, look)
    assert kinds(found) == [{"edits": "0", **OLD}]
    assert len(found) > 20


def test_folders_are_made_with_their_files_or_not(outcomes: Any) -> None:
    found = outcomes(nothing, make_package)
    assert kinds(found) == [{"edits": "0", **OLD}, {"edits": "1", **OLD, **PACKAGE}]
    assert len(found) > 50


def test_files_move_with_their_folders_or_not(outcomes: Any) -> None:
    found = outcomes(make_folder, move)
    there, moved = ({name: FOLDER, f"{name}/x": "x"} for name in ("pkg", "new"))
    assert kinds(found) == [{"edits": "0", **OLD, **there}, {"edits": "1", **OLD, **moved}]


def test_an_undo_removes_its_folders_or_does_nothing(outcomes: Any) -> None:
    found = outcomes(make_package, undo)
    assert kinds(found) == [{"edits": "1", **OLD, **PACKAGE}, {"edits": "0", **OLD}]
    assert len(found) > 50


def test_a_roll_back_that_is_killed_leaves_no_folder(outcomes: Any) -> None:
    found = outcomes(begin_a_roll_back_of_folders, look)
    assert kinds(found) == [{"edits": "0", **OLD}]
    assert len(found) > 20
