"""The helpers from guest code: over every sandbox, under rights, in the record, in the budget, and served on resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp_types import ListRootsResult, Root, ToolAnnotations

from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core import events
from rlm.core.config import LocalConfig
from rlm.helpers.opening import open_workspace
from rlm.sinks.memory import MemorySink
from tests.integration.cli import User, fenced
from tests.support.cut_off import cut_off_edit
from tests.support.environments import COLD, in_each
from tests.support.mcp_clients import LEGACY, Host, host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm.core.types import ModelRequest

ENDLESS = """
try:
    fs.search_replace("c.txt", "(a+)+$", "x", regex=True)
except Exception as error:
    said = str(error)
"""
FAILURES = """
def failure(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
FINAL({
    "missing": failure(fs.read_file, "gone.py"),
    "outside": failure(fs.read_file, "../x"),
    "wrong": failure(fs.read_file, 5),
    "twice": failure(fs.read_file, "a.py", path="b.py"),
    "denied": failure(git.git_push, "origin"),
    "unknown": failure(lambda: git.git_pull).partition(";")[0],
    "object": failure(fs.write_file, "a.py", range(3)),
    "bytes": failure(fs.write_file, "a.py", b"x").partition(" Its")[0],
})
"""


def cell(code: str) -> Any:
    return tool_call("execute_code", code=code)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files, and a home for the undo journal beside it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a.py").write_text("one\ntwo\nthree")
    (folder / "b.py").write_bytes(b"x\r\ntwo\r\n")
    return folder


@pytest.fixture
def make(tree: Path, tmp_path: Path) -> Iterator[Callable[..., RLM]]:
    """Makes an RLM over cells, whose workspace is the tree."""
    made: list[RLM] = []

    def build(*codes: str, **settings: Any) -> RLM:
        script = settings.pop("script", None) or [cell(code) for code in codes]
        given = {"allowed_paths": (str(tree),), "log_dir": str(tmp_path / "logs")}
        given |= {**COLD, **settings}
        config = Config(**given)
        sink = MemorySink()
        made.append(RLM(ScriptedBackend(script), config=config, sinks=[sink]))
        made[-1].sink = sink
        return made[-1]

    yield build
    for rlm in made:
        rlm.close()


def is_child(request: ModelRequest) -> bool:
    return any(message.role == "user" and "child" in message.content for message in request.messages)


async def executing(connected: Host) -> ToolAnnotations:
    """What the tool that runs cells is announced as."""
    tools = (await connected.client.list_tools()).tools
    (found,) = [tool.annotations for tool in tools if tool.name == "execute_python"]
    assert found is not None
    return found


def workers() -> list[int]:
    """The worker processes of this one."""
    own = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    children = [int(pid) for each in own for pid in each.read_text().split()]
    return [pid for pid in children if b"worker_start" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def value(rlm: RLM) -> Any:
    result = rlm.completion("go")
    result.raise_for_status()
    return result.value


@in_each
def test_guest_code_reads_and_replaces_over_the_wire(make: Any, tree: Path, environment: str) -> None:
    code = """
    text = fs.read_file("a.py")
    done = fs.search_replace("**/*.py", "two", replace="TWO")
    FINAL([text, done["files_modified"], done["total_replacements"], sorted(fs.glob("*.py"))])
    """
    rlm = make(
        "\n".join(line[4:] for line in code.splitlines()), environment=environment, helper_rights=("read", "write")
    )
    assert value(rlm) == ["one\ntwo\nthree", 2, 2, ["a.py", "b.py"]]
    assert (tree / "b.py").read_bytes() == b"x\r\nTWO\r\n"


def test_every_call_is_a_span_with_its_arguments_and_result(make: Any) -> None:
    rlm = make("FINAL(fs.copy_lines('a.py', 2, 2))")
    assert value(rlm) == "two\n"
    bodies = [event.body for event in rlm.sink.events]
    (start,) = [body for body in bodies if isinstance(body, events.ToolStart)]
    (end,) = [body for body in bodies if isinstance(body, events.ToolEnd)]
    assert (start.name, start.caller) == ("fs.copy_lines", "guest")
    assert start.arguments == {"source_file": "a.py", "start_line": 2, "end_line": 2}
    assert end.result == "two\n"


def test_a_file_tool_reads_nothing_of_half_an_edit(make: Any, tree: Path) -> None:
    work = open_workspace([tree], ["write"], os.environ)
    cut_off_edit(work, "fs.search_replace", file_pattern="*.py", search="two", replace="TWO")
    rlm = make(script=[tool_call("file_read", path="a.py"), cell("FINAL('read')")])
    assert value(rlm) == "read"
    ends = [event.body for event in rlm.sink.events if isinstance(event.body, events.ToolEnd)]
    assert ends[0].result == (tree / "a.py").read_text() == "one\ntwo\nthree"


def test_a_label_that_a_model_types_overwrites_no_secret(make: Any, tree: Path) -> None:
    token = "ghp_" + "aB3dE6gH9j" * 4
    (tree / "config.env").write_text(f"TOKEN={token}\n")
    code = """
    try:
        fs.write_file("config.env", "TOKEN=[REDACTED_GITHUB_TOKEN]\\nHOST=b\\n")
    except Exception as error:
        fs.write_file("config.env", fs.read_file("config.env") + "HOST=b\\n")
        FINAL(str(error))
    """
    said = value(make("\n".join(line[4:] for line in code.splitlines())))
    assert "edit around it in code" in said
    assert (tree / "config.env").read_text() == f"TOKEN={token}\nHOST=b\n"


def test_calls_count_in_the_tool_budget(make: Any) -> None:
    rlm = make(
        "fs.read_file('a.py')\ntry:\n    fs.read_file('a.py')\nexcept Exception as e:\n    FINAL(str(e))",
        budget=Budget(tool_budget=1),
    )
    assert "tool_budget" in value(rlm)


def test_writing_is_refused_where_it_was_not_granted(make: Any, tree: Path) -> None:
    code = "try:\n    fs.write_file('a.py', 'x')\nexcept Exception as e:\n    FINAL(str(e))"
    rlm = make(code, helper_rights=("read",))
    assert "helper_rights has no 'write'" in value(rlm)
    assert (tree / "a.py").read_text() == "one\ntwo\nthree"


def test_without_a_workspace_there_are_no_helpers(make: Any) -> None:
    rlm = make("try:\n    fs\nexcept NameError:\n    FINAL('none')", allowed_paths=())
    assert value(rlm) == "none"


def test_a_name_of_a_helper_may_be_a_variable(make: Any) -> None:
    rlm = make("code = fs.copy_lines('a.py', 1, 1)", "del fs", "FINAL([code, fs.stat('a.py')['lines']])")
    assert value(rlm) == ["one\n", 3]


@in_each
def test_a_pattern_that_never_ends_is_stopped(make: Any, tree: Path, environment: str) -> None:
    (tree / "c.txt").write_text("a" * 40 + "!")
    rlm = make(f"{ENDLESS}\nFINAL(said)", environment=environment, cell_timeout_s=1.0)
    assert value(rlm) == "ToolError: it took longer than 1 s and was stopped: make it simpler or narrower."
    assert (tree / "c.txt").read_text() == "a" * 40 + "!"


@in_each
def test_a_failure_reads_the_same_in_every_sandbox(make: Any, environment: str) -> None:
    rlm = make(FAILURES, environment=environment)
    assert value(rlm) == {
        "missing": "SubcallError: ToolError: 'gone.py' does not exist in tree.",
        "outside": "SubcallError: ToolError: '../x' is outside of what may be read (tree): "
        "the setting allowed_paths adds to that.",
        "wrong": "SubcallError: ToolError: fs.read_file: Expected `str`, got `int` - at `$.path`. Its arguments: path.",
        "twice": "TypeError: got multiple values for argument 'path'",
        "denied": "SubcallError: ToolError: git.git_push: pushing to a remote is not allowed here "
        "(helper_rights has no 'push').",
        "unknown": "AttributeError: git has no 'git_pull'",
        "object": "TypeError: a helper can't be given a range: make text, numbers, lists or dicts of it",
        "bytes": "SubcallError: ToolError: fs.write_file: Expected `str`, got `bytes` - at `$.content`.",
    }


@in_each
def test_a_path_of_a_cell_is_taken_as_its_text(make: Any, environment: str) -> None:
    code = "from pathlib import PurePosixPath\nFINAL(fs.copy_lines(PurePosixPath('a.py'), 1, 1))"
    assert value(make(code, environment=environment, local=LocalConfig(policy="off"))) == "one\n"


def test_a_run_that_is_cancelled_kills_the_worker_and_ends_the_span(make: Any, tree: Path) -> None:
    (tree / "c.txt").write_text("a" * 40 + "!")
    rlm = make(f"fs.stat('a.py')\n{ENDLESS}", budget=Budget(timeout_s=3))
    result = rlm.completion("go")
    assert result.limit == "timeout_s"
    ends = [event.body.error for event in rlm.sink.events if isinstance(event.body, events.ToolEnd)]
    assert ends == [None, "CancelledError: "]
    assert workers() == []


def test_threads_of_a_cell_and_children_edit_one_file_without_loss(make: Any, tree: Path) -> None:
    threads = "[threading.Thread(target=paste, args=(n,)) for n in range(12)]"
    code = (
        "import threading\ndef paste(n):\n    fs.paste_code('b.py', -1, f'thread {n}')\n"
        f"threads = {threads}\nfor each in threads:\n    each.start()\nfor each in threads:\n    each.join()\n"
        "rlm_query_batched(['child'] * 3)\nFINAL(fs.read_file('b.py').splitlines())"
    )
    child = cell("fs.paste_code('b.py', -1, 'child')\nFINAL('done')")
    rlm = make(local=LocalConfig(policy="off"), script=lambda request: child if is_child(request) else cell(code))
    lines = value(rlm)
    assert (sum("thread" in line for line in lines), lines.count("child"), len(lines)) == (12, 3, 17)


def test_a_replay_edits_nothing(make: Any, tree: Path) -> None:
    first = make("FINAL(fs.write_file('a.py', 'new')['lines'])").completion("go")
    (tree / "a.py").write_text("mine")
    report = make("").replay(first.trajectory)
    assert (report.cells, report.served, report.differences) == (1, 2, ())
    assert (tree / "a.py").read_text() == "mine"


def test_a_run_is_resumed_in_the_folder_that_is_named_again(user: User) -> None:
    user.write("src/a.py", "one\n")
    model = user.script(fenced("done = fs.paste_code('a.py', 1, 'zero')"))
    run = user.rlm("run", "go", "-m", model, "--allowed-path", "src", "--max-turns", "1", "--environment", "local")
    assert run.returncode == 3
    user.script(fenced("FINAL(done['start_line'])"))
    again = user.rlm("resume", "last", "--allowed-path", "src", "--max-turns", "5")
    assert (again.returncode, again.stdout) == (0, "1\n"), again.stderr
    assert (user.cwd / "src" / "a.py").read_text() == "zero\none\n"
    replayed = user.rlm("replay", "last", "--allowed-path", "src")
    assert replayed.returncode == 0, replayed.stdout


async def test_the_roots_of_an_mcp_client_are_no_workspace(user: User) -> None:
    async def roots(_context: object) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=user.cwd.as_uri())])

    user.write("a.txt", "loaded")
    async with host(user, "stdio", LEGACY, list_roots_callback=roots) as connected:
        await connected.call("load_context", path="a.txt")
        assert "NameError" in await connected.run("fs")
        assert "fs.undo" not in (connected.client.instructions or "")
        assert (await executing(connected)).destructive_hint is False


async def test_an_mcp_host_is_told_where_its_cells_may_edit(user: User) -> None:
    user.write("src/a.py", "one\n")
    user.environ["RLM_ALLOWED_PATHS"] = str(user.cwd / "src")
    user.environ["RLM_TABLES"] = str(user.write("t.csv", "a,b\n1,2\n"))
    async with host(user, "stdio", LEGACY) as connected:
        assert "tables.sql(query) asks 1 files" in (connected.client.instructions or "")
        assert "[{'a': 1, 'b': 2}]" in await connected.run("tables.sql('FROM t')")
        assert f"below {user.cwd / 'src'}" in (connected.client.instructions or "")
        assert (await executing(connected)).destructive_hint is True
        assert "'lines': 1" in await connected.run("fs.write_file('a.py', 'two')")
    user.environ["RLM_HELPER_RIGHTS"] = "read"
    async with host(user, "stdio", LEGACY) as connected:
        assert (await executing(connected)).destructive_hint is False
        assert "not allowed here" in await connected.run("fs.write_file('a.py', 'three')")
    assert (user.cwd / "src" / "a.py").read_text() == "two"


def test_a_resumed_run_serves_edits_from_the_record(make: Any, tree: Path) -> None:
    first = make("done = fs.paste_code('a.py', 1, 'zero')", helper_rights=("write",), budget=Budget(max_turns=1))
    cut = first.completion("go")
    assert cut.status == "limit"
    again = make("FINAL(done['start_line'])", helper_rights=("write",))
    result = again.resume(cut.trajectory, overrides={"max_turns": 5})
    assert result.value == 1
    assert (tree / "a.py").read_text() == "zero\none\ntwo\nthree"
