"""The helpers from guest code: over every sandbox, under rights, in the record, in the budget, and served on resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core import events
from rlm.core.config import DockerConfig
from rlm.sinks.memory import MemorySink
from tests.support.required import TEST_IMAGE, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SANDBOXES = [
    "local",
    pytest.param("docker", marks=needs("docker")),
    pytest.param("wasm", marks=needs("wasm")),
]


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
        given = {"allowed_paths": (str(tree),), "log_dir": str(tmp_path / "logs")}
        given |= {"docker": DockerConfig(image=TEST_IMAGE), **settings}
        config = Config(**given)
        sink = MemorySink()
        made.append(RLM(ScriptedBackend([cell(code) for code in codes]), config=config, sinks=[sink]))
        made[-1].sink = sink
        return made[-1]

    yield build
    for rlm in made:
        rlm.close()


def value(rlm: RLM) -> Any:
    result = rlm.completion("go")
    result.raise_for_status()
    return result.value


@pytest.mark.parametrize("environment", SANDBOXES)
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


def test_calls_count_in_the_tool_budget(make: Any) -> None:
    rlm = make(
        "fs.read_file('a.py')\ntry:\n    fs.read_file('a.py')\nexcept Exception as e:\n    FINAL(str(e))",
        budget=Budget(tool_budget=1),
    )
    assert "tool_budget" in value(rlm)


def test_writing_is_refused_where_it_was_not_granted(make: Any, tree: Path) -> None:
    rlm = make("try:\n    fs.write_file('a.py', 'x')\nexcept Exception as e:\n    FINAL(str(e))")
    assert "helper_rights has no 'write'" in value(rlm)
    assert (tree / "a.py").read_text() == "one\ntwo\nthree"


def test_without_a_workspace_there_are_no_helpers(make: Any) -> None:
    rlm = make("try:\n    fs\nexcept NameError:\n    FINAL('none')", allowed_paths=())
    assert value(rlm) == "none"


def test_a_name_of_a_helper_may_be_a_variable(make: Any) -> None:
    rlm = make("code = fs.copy_lines('a.py', 1, 1)", "del fs", "FINAL([code, fs.stat('a.py')['lines']])")
    assert value(rlm) == ["one\n", 3]


def test_a_pattern_that_never_ends_is_stopped(make: Any, tree: Path) -> None:
    (tree / "c.txt").write_text("a" * 40 + "!")
    code = "try:\n    fs.search_replace('c.txt', '(a+)+$', 'x', regex=True)\nexcept Exception as e:\n    FINAL(str(e))"
    rlm = make(code, helper_rights=("write",), cell_timeout_s=1.0)
    assert "took" in value(rlm)
    assert (tree / "c.txt").read_text() == "a" * 40 + "!"


def test_a_resumed_run_serves_edits_from_the_record(make: Any, tree: Path) -> None:
    first = make("done = fs.paste_code('a.py', 1, 'zero')", helper_rights=("write",), budget=Budget(max_turns=1))
    cut = first.completion("go")
    assert cut.status == "limit"
    again = make("FINAL(done['start_line'])", helper_rights=("write",))
    result = again.resume(cut.trajectory, overrides={"max_turns": 5})
    assert result.value == 1
    assert (tree / "a.py").read_text() == "zero\none\ntwo\nthree"
