"""The two doors of the helpers: what each lets through, with no sandbox between."""

from __future__ import annotations

import asyncio
import inspect
import sys
import sysconfig
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import rlm
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, ToolError
from rlm.helpers import fs, git, open_helpers
from rlm.helpers.opening import guest_helpers
from rlm.helpers.operation_table import MODULES, OBJECTS, find, names
from rlm.processes.worker import WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rlm.core.interfaces import Helpers


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "home" / "tree"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("one\ntwo\nthree")
    return folder


@asynccontextmanager
async def guests(tree: Path, **settings: Any) -> AsyncIterator[Helpers]:
    """The guest's door to the tree."""
    workers = WorkerPool()
    given = {"allowed_paths": (str(tree),), "log_dir": str(tree.parent / "logs"), **settings}
    helpers = guest_helpers(Config(**given), workers)
    assert helpers is not None
    try:
        yield helpers
    finally:
        await workers.aclose()


async def refusal(helpers: Helpers, name: str, **arguments: Any) -> str:
    with pytest.raises(ToolError) as refused:
        await helpers.get(name).call(arguments)
    return str(refused.value)


@pytest.mark.parametrize("name", names())
def test_each_operation_stands_in_its_module_under_its_name(name: str) -> None:
    operation = find(name)
    assert operation.name == operation.tool.spec.name == name
    assert name.partition(".")[0] in OBJECTS
    assert {*operation.tool.spec.parameters["properties"]} == {*operation.signature.parameters}


def test_every_module_of_operations_is_listed_once() -> None:
    listed = [name for each in MODULES.values() for name in each]
    assert len(listed) == len(set(listed)) == len(names())


def test_by_default_a_workspace_is_read_and_edited_and_its_repository_left_alone(tree: Path) -> None:
    helpers = open_helpers(tree)
    assert helpers.fs.write_file("b.py", "x")["created"]
    with pytest.raises(ToolError, match="has no 'git'"):
        helpers.git.git_commit("all")
    with pytest.raises(ToolError, match="has no 'push'"):
        helpers.git.git_push("origin", "main")
    assert Config().helper_rights == ("read", "write")


def test_with_the_right_to_read_alone_nothing_is_edited(tree: Path) -> None:
    with pytest.raises(ToolError, match="has no 'write'"):
        open_helpers(tree, rights=["read"]).fs.write_file("a.py", "x")
    assert (tree / "a.py").read_text() == "one\ntwo\nthree"


def test_a_set_of_helpers_needs_a_folder_and_known_rights(tree: Path) -> None:
    with pytest.raises(ConfigError, match="name at least one folder"):
        open_helpers()
    with pytest.raises(ConfigError, match="there is no 'wirte'"):
        open_helpers(tree, rights=["read", "wirte"])  # type: ignore[list-item]


def test_the_host_takes_paths_wherever_a_path_stands(tree: Path) -> None:
    copy = {"source_file": tree / "a.py", "start_line": 1, "end_line": 1, "target_file": tree / "b.py"}
    assert open_helpers(tree).fs.batch_copy([copy])["lines_copied"] == 1
    assert (tree / "b.py").read_text() == "one\n"


def test_the_host_works_where_it_stands(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert fs.copy_lines("a.py", 2, end_line=3) == "two\nthree"
    with pytest.raises(TypeError, match="multiple values for argument 'start_line'"):
        fs.copy_lines("a.py", 2, 3, start_line=1)


def test_an_object_of_the_host_tells_what_it_has() -> None:
    assert {"git_status", "git_push"} <= set(dir(git))
    assert list(inspect.signature(fs.stat).parameters) == ["path"]
    assert fs.stat.__doc__
    with pytest.raises(AttributeError, match=r"Did you mean: fs\.copy_lines"):
        fs.copy_line  # noqa: B018


def test_a_fault_of_an_operation_is_told_as_its_own(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(*_args: Any, **_kwargs: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/srv/somebody/secret")

    monkeypatch.setattr("rlm.helpers.workspace.Workspace.source", vanish)
    with pytest.raises(ToolError) as failed:
        open_helpers(tree).fs.read_file("a.py")
    assert str(failed.value) == "fs.read_file failed: FileNotFoundError: No such file or directory"


async def test_a_guest_gives_no_bytes_and_no_nan(tree: Path) -> None:
    async with guests(tree) as helpers:
        assert "got `bytes`" in await refusal(helpers, "fs.write_file", path="b.py", content=b"abc")
        nested = await refusal(helpers, "transform.batch", operations=[{"operation": b"add_docstrings"}])
        assert "no form in JSON" in nested
        assert "got `float`" in await refusal(helpers, "fs.glob", pattern="*", limit=float("nan"))
    assert not (tree / "b.py").exists()


async def test_a_refusal_tells_a_guest_nothing_of_the_host(tree: Path) -> None:
    paths = ("../../etc/passwd", "/etc/passwd", "gone.py", ".", "a.py/x", "\ud800", "a\0")
    async with guests(tree) as helpers:
        told = [await refusal(helpers, "fs.read_file", path=path) for path in paths]
    assert [each for each in told if str(tree.parent) in each or "process" in each] == []


async def test_a_folder_that_went_away_is_told_without_its_place(tree: Path) -> None:
    async with guests(tree) as helpers:
        tree.rename(tree.parent / "moved")
        told = await refusal(helpers, "fs.read_file", path="a.py")
    assert told == "a folder that helpers work in no longer exists."


async def test_a_result_tells_a_guest_names_that_lead_back(tree: Path) -> None:
    (tree.parent / "more").mkdir()
    (tree.parent / "more" / "a.py").write_text("more")
    async with guests(tree, allowed_paths=(str(tree), str(tree.parent / "more"))) as helpers:
        assert await helpers.get("fs.glob").call({"pattern": "*.py"}) == ["tree/a.py", "more/a.py"]
        assert await helpers.get("fs.read_file").call({"path": "more/a.py"}) == "more"


@pytest.mark.parametrize("name", ["logs/run.jsonl", "store.sqlite", "store.sqlite-wal", "state/rlm/trust/x.json"])
async def test_a_guest_rewrites_nothing_that_the_runtime_keeps(tmp_path: Path, tree: Path, name: str) -> None:
    kept = tmp_path / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("kept")
    places = {"log_dir": str(tmp_path / "logs"), "store_path": str(tmp_path / "store.sqlite")}
    async with guests(tmp_path, **places) as helpers:
        assert "the runtime's own" in await refusal(helpers, "fs.write_file", path=name, content="")
        replacing = {"file_pattern": name, "search": "kept", "replace": ""}
        assert (await helpers.get("fs.search_replace").call(replacing))["files_modified"] == 0
    assert kept.read_text() == "kept"


async def test_the_records_may_be_looked_at_where_they_are_what_is_allowed(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run.jsonl").write_text("kept")
    logs = str(tmp_path / "logs")
    async with guests(tree, allowed_paths=(logs,), log_dir=logs) as helpers:
        assert await helpers.get("fs.glob").call({"pattern": "*"}) == ["run.jsonl"]
        assert "the runtime's own" in await refusal(helpers, "fs.write_file", path="run.jsonl", content="")


async def test_a_result_too_large_for_the_wire_is_said_to_be_so(tree: Path) -> None:
    (tree / "big.txt").write_text("x" * 100_000 + "\x01" * 3_800_000)
    async with guests(tree) as helpers:
        told = await refusal(helpers, "fs.read_file", path="big.txt")
    assert "ask for less" in told


async def test_edits_at_the_same_time_wait_for_one_another(tree: Path) -> None:
    async with guests(tree) as helpers:
        paste = helpers.get("fs.paste_code").call
        lines = [{"target_file": "a.py", "line_number": -1, "code": f"line {number}"} for number in range(8)]
        await asyncio.gather(*map(paste, lines))
    assert len((tree / "a.py").read_text().splitlines()) == 3 + 8


async def test_an_edit_that_began_to_be_written_is_finished_when_the_cell_goes(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlm.helpers import guest_tools

    began, go_on = asyncio.Event(), asyncio.Event()
    loop, commit = asyncio.get_running_loop(), guest_tools.commit

    def slow(*args: Any) -> Any:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return commit(*args)

    monkeypatch.setattr(guest_tools, "commit", slow)
    async with guests(tree) as helpers:
        call = asyncio.create_task(helpers.get("fs.write_file").call({"path": "a.py", "content": "new"}))
        await asyncio.wait_for(began.wait(), timeout=30)
        call.cancel()
        ended, _ = await asyncio.wait([call], timeout=0.05)
        go_on.set()
        assert not ended
        with pytest.raises(asyncio.CancelledError):
            await call
    assert (tree / "a.py").read_text() == "new"


async def test_a_guest_rewrites_nothing_of_the_python_that_workers_are_started_from(tree: Path) -> None:
    packages = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    async with guests(tree, allowed_paths=(sys.prefix,)) as helpers:
        for place in (f"{packages}/evil.pth", f"{packages}/new.py", "pyvenv.cfg", "bin/activate"):
            told = await refusal(helpers, "fs.write_file", path=place, content="evil", dry_run=True)
            assert "the runtime's own" in told, place


async def test_the_packages_of_this_python_are_left_out_where_they_lie_in_the_workspace(tree: Path) -> None:
    async with guests(tree, allowed_paths=(sys.prefix,)) as helpers:
        assert await helpers.get("fs.glob").call({"pattern": "msgspec/__init__.py"}) == []
        replacing = {"file_pattern": "*.py", "search": "import", "replace": "evil", "dry_run": True}
        assert (await helpers.get("fs.search_replace").call(replacing))["files_modified"] == 0


async def test_a_guest_rewrites_nothing_of_this_package_but_may_look_at_it(tree: Path) -> None:
    async with guests(tree, allowed_paths=(str(Path(rlm.__file__).parent),)) as helpers:
        assert await helpers.get("fs.glob").call({"pattern": "processes/worker.py"}) == ["processes/worker.py"]
        writing = {"path": "processes/worker.py", "content": "evil", "dry_run": True}
        assert "the runtime's own" in await refusal(helpers, "fs.write_file", **writing)


async def test_a_guest_puts_no_module_in_the_place_of_one_that_the_host_may_import(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tree)  # as that of a script, or the current one, is
    (tree / "docker").mkdir()
    async with guests(tree) as helpers:
        for name in ("json.py", "jsonschema.py", "sitecustomize.py", "docker/__init__.py", "uuid.pyc"):
            assert "stand in for" in await refusal(helpers, "fs.write_file", path=name, content="evil"), name
            assert not (tree / name).exists()


async def test_nor_does_it_make_a_package_of_the_folder_that_it_is_given(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tree)
    (tree / "docker").mkdir()
    async with guests(tree, allowed_paths=(str(tree / "docker"),)) as helpers:
        assert "stand in for" in await refusal(helpers, "fs.write_file", path="__init__.py", content="evil")
        await helpers.get("fs.write_file").call({"path": "json.py", "content": "fine"})


async def test_a_guest_writes_other_modules_beside_the_script_of_the_host(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tree)
    (tree / "docker").mkdir()
    (tree / "uuid.py").write_text("own = 1")
    async with guests(tree) as helpers:
        for name in ("a.py", "b.py", "json.txt", "docker/json.py", "uuid.py"):
            await helpers.get("fs.write_file").call({"path": name, "content": "new"})
            assert (tree / name).read_text() == "new"


@pytest.mark.parametrize("last", ["config", "HEAD", "objects/x", "refs/x", "commondir"])
async def test_a_guest_makes_no_folder_that_git_takes_for_a_repository(tree: Path, last: str) -> None:
    for name in {"HEAD", "objects/x", "refs/x"} - ({last} if last != "commondir" else {"refs/x"}):
        (tree / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "docs" / name).write_text("ref: refs/heads/main")
    (tree / "docs" / last).parent.mkdir(exist_ok=True)
    if "/" in last:
        (tree / "docs" / last).parent.rmdir()
    async with guests(tree) as helpers:
        told = await refusal(helpers, "fs.write_file", path=f"docs/{last}", content="evil")
    assert "repository" in told
    assert not (tree / "docs" / last).exists()


async def test_files_called_as_those_of_a_repository_are_files(tree: Path) -> None:
    async with guests(tree) as helpers:
        for name in ("config", "refs/x", "objects/refs"):
            (tree / name).parent.mkdir(exist_ok=True)
            await helpers.get("fs.write_file").call({"path": name, "content": "fine"})
    assert (tree / "config").read_text() == "fine"


async def test_a_guest_makes_no_name_that_a_shell_or_a_terminal_takes_for_something_else(tree: Path) -> None:
    async with guests(tree) as helpers:
        for name in ("-rf", "--checkpoint-action=exec=sh x", "~/x", "a\nb", "\x1b[31mx", "x/\u202egnp.sh", "-x/a"):
            assert "can't name a new file" in await refusal(helpers, "fs.write_file", path=name, content="x"), name
    assert [each.name for each in tree.iterdir()] == ["a.py"]


async def test_a_file_that_has_such_a_name_is_edited(tree: Path) -> None:
    (tree / "-x").mkdir()
    (tree / "-x" / "a\nb").write_text("old")
    async with guests(tree) as helpers:
        for name in ("-x/a\nb", "-x/new"):
            await helpers.get("fs.write_file").call({"path": name, "content": "new"})
    assert (tree / "-x" / "a\nb").read_text() == (tree / "-x" / "new").read_text() == "new"
