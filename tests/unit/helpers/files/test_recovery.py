"""An edit that was cut off is rolled back before anything is read, planned or staged, whoever comes upon it."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ConfigError, ToolError
from rlm.helpers import code, fs, git, open_helpers, transform
from rlm.helpers.guest_tools import GuestHelpers
from rlm.helpers.journal_folder import JournalFolder
from rlm.helpers.opening import open_workspace, recover_at
from rlm.helpers.operation_table import find
from rlm.helpers.performing import commit, plan
from rlm.helpers.recovery import recover
from rlm.processes.worker import WorkerPool
from rlm.runtime.inputs import prepare
from tests.support.cut_off import cut_off_edit
from tests.support.git_trees import make_repository, run_git

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.helpers.workspace import Workspace

OLD = {"a.py": "old = 1\n", "b.py": "old = 2\n", "c.py": "old = 3\n"}
RENAMING: dict[str, Any] = {"file_pattern": "**/*.py", "search": "old", "replace": "new"}


def workspace(*roots: Path) -> Workspace:
    return open_workspace(roots, ["read", "write", "git"], os.environ)


def content(tree: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(tree.iterdir()) if path.is_file()}


@pytest.fixture
def half(tree: Path) -> Path:
    """A tree with an edit that was killed after the first of three files."""
    for name, text in OLD.items():
        (tree / name).write_text(text)
    cut_off_edit(workspace(tree), "fs.search_replace", **RENAMING)
    assert len(content(tree)) == 5
    return tree


READS: dict[str, Callable[[], object]] = {
    "fs.read_file": lambda: fs.read_file("a.py"),
    "fs.copy_lines": lambda: fs.copy_lines("a.py", 1, 1),
    "fs.glob": lambda: fs.glob("*.py"),
    "fs.search_replace": lambda: fs.search_replace(**RENAMING, dry_run=True),
    "code.find_references": lambda: code.find_references(".", "old"),
    "a context": lambda: prepare(Path("a.py")),
    "a context of a glob": lambda: prepare(Path("*.py")),
}


@pytest.mark.parametrize("name", READS)
def test_nothing_is_read_of_half_an_edit(half: Path, name: str) -> None:
    READS[name]()
    assert content(half) == OLD


def test_the_same_edit_again_reaches_every_file(half: Path) -> None:
    assert fs.search_replace(**RENAMING)["files_modified"] == 3
    assert content(half) == {name: text.replace("old", "new") for name, text in OLD.items()}


async def test_a_guest_reads_nothing_of_half_an_edit(half: Path) -> None:
    workers = WorkerPool(size=1)
    helpers = GuestHelpers(workspace(half), workers, 30.0)
    assert await helpers.get("fs.read_file").call({"path": "a.py"}) == OLD["a.py"]
    await workers.aclose()
    assert content(half) == OLD


@pytest.mark.parametrize("where", [".", "pkg", "..", "pkg/a.py"])
def test_an_edit_of_a_folder_above_or_below_is_rolled_back_too(tree: Path, where: str) -> None:
    (tree / "pkg").mkdir()
    for name, text in OLD.items():
        (tree / "pkg" / name).write_text(text)
    cut_off_edit(workspace(tree), "fs.search_replace", **RENAMING)
    recover(workspace(tree / where))
    assert content(tree / "pkg") == OLD


def test_an_edit_of_several_folders_is_rolled_back_whole_from_one(tree: Path) -> None:
    both = [tree / "src", tree / "tests"]
    for folder in both:
        folder.mkdir()
        (folder / "a.py").write_text(OLD["a.py"])
    cut_off_edit(workspace(*both), "fs.search_replace", **RENAMING)
    assert open_helpers(both[1]).fs.read_file("a.py") == OLD["a.py"]
    assert [content(folder) for folder in both] == [{"a.py": OLD["a.py"]}] * 2


def test_an_edit_elsewhere_is_nobodys_business_here(half: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    before = content(half)
    recover(workspace(tmp_path / "other"))
    assert content(half) == before


def test_one_who_may_only_read_has_it_rolled_back(half: Path) -> None:
    assert open_helpers(half, rights=["read"]).fs.read_file("a.py") == OLD["a.py"]


def test_git_stages_nothing_of_half_an_edit(tree: Path) -> None:
    make_repository(tree)
    for name, text in OLD.items():
        (tree / name).write_text(text)
    run_git(tree, "add", ".")
    run_git(tree, "commit", "--quiet", "-m", "old")
    cut_off_edit(workspace(tree), "fs.search_replace", **RENAMING)
    assert git.git_status()["is_clean"]
    assert git.git_add(["."]) == {"staged": 0, "files": []}


def test_what_the_edit_of_somebody_else_left_is_never_staged(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(tree)
    for name, text in OLD.items():
        (tree / name).write_text(text)
    cut_off_edit(workspace(tree), "fs.search_replace", **RENAMING)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of somebody else"))
    with pytest.raises(ToolError, match=r"-1\.rlm' was left by an edit .* \(2 such files\)\. Nothing was staged"):
        git.git_add(["."])
    assert git.git_status()["files"]["staged"] == []


def test_what_the_edit_of_somebody_else_left_is_told_by_whoever_walks_by(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of somebody else"))
    told = "was left by an edit that is being made, or was cut off, by somebody else: files may be half edited"
    assert told in fs.search_replace(**RENAMING)["note"]
    assert told in code.find_functions(".")["note"]
    assert told in transform.rename_identifier(".", "new", "newer")["note"]


def test_nothing_is_staged_while_an_edit_is_being_made(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(half)
    monkeypatch.setattr("rlm.helpers.journal_folder.LOCK_S", 0.01)
    fs.read_file("a.py")
    with (JournalFolder.of(workspace(half)).path / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolError, match="another edit of these folders has not ended"):
            git.git_add(["."])


def test_an_edit_that_is_being_made_is_waited_for_and_left_alone(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.helpers.journal_folder.LOCK_S", 0.01)
    before = content(half)
    with (JournalFolder.of(workspace(half)).path / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolError, match="another edit of these folders has not ended"):
            fs.read_file("b.py")
        with pytest.raises(ConfigError, match="another edit of these folders has not ended"):
            recover_at([half / "b.py"])
    assert content(half) == before


async def test_a_cancelled_call_waits_for_nobodys_edit(half: Path) -> None:
    workers = WorkerPool(size=1)
    helpers = GuestHelpers(workspace(half), workers, 30.0)
    with (JournalFolder.of(workspace(half)).path / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, arguments in (("fs.read_file", {"path": "a.py"}), ("fs.search_replace", RENAMING)):
            call = asyncio.create_task(helpers.get(name).call(arguments))
            await asyncio.wait([call], timeout=0.05)
            call.cancel()
            async with asyncio.timeout(20):
                with pytest.raises(asyncio.CancelledError):
                    await call
    await workers.aclose()


def test_a_plan_made_on_half_an_edit_is_not_carried_out(half: Path) -> None:
    planned = plan(workspace(half), find("fs.search_replace"), RENAMING)
    assert planned.facts["files_modified"] == 2
    with pytest.raises(ToolError, match="taken back while this one was planned, .* nothing was changed; call it again"):
        commit(workspace(half), planned)
    assert content(half) == OLD


def test_nor_is_one_that_was_made_while_another_failed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in OLD.items():
        (tree / name).write_text(text)
    (tree / "b.py").write_text("nothing\n")
    rename, seen = os.rename, []

    def failing(source: str, target: str, **kwargs: Any) -> None:
        if target == "c.py":
            seen.append(plan(workspace(tree), find("fs.search_replace"), RENAMING))
            raise OSError(28, "No space left on device")
        rename(source, target, **kwargs)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(ToolError, match="No space left on device; nothing was changed"):
        fs.search_replace(**RENAMING)
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(ToolError, match="call it again"):
        commit(workspace(tree), seen[0])
    assert (tree / "c.py").read_text() == OLD["c.py"]


def test_in_a_folder_that_went_what_is_left_is_kept_and_named(half: Path, tmp_path: Path) -> None:
    (tmp_path / "above").mkdir()
    half.rename(tmp_path / "above" / "tree")
    with pytest.raises(
        ToolError, match="could not be restored: 'tree/a.py', 'tree/b.py', 'tree/c.py'; what they held before is kept"
    ):
        recover(workspace(tmp_path))


def test_reading_needs_no_journal_and_makes_none(half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "new"))
    assert fs.read_file("b.py") == OLD["b.py"]
    assert not (tmp_path / "new").exists()
