"""`code` and `transform` from guest code: the document's examples in a cell, and patterns that would run for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend, tool_call

if TYPE_CHECKING:
    from pathlib import Path

RIGHTS = ("read", "write")
EXTRACT = """
found = code.find_functions("app.py", pattern=".*_util$")
for each in found:
    fs.paste_code("utils.py", -1, fs.copy_lines("app.py", each["start_line"], each["end_line"]))
FINAL([each["name"] for each in found])
"""
AUDIT = """
audit = []
for file in fs.glob("**/*.py"):
    found = code.analyze_dependencies(file)
    audit.append([file, found["functions"], found["complexity"], code.find_unused_imports(file)])
FINAL(audit)
"""
RENAME = """
try:
    result = transform.rename_identifier(
        pattern=".", old_name="getUserData", new_name="fetchUserData", file_pattern="**/*.py"
    )
    FINAL([result["files_modified"], result["total_replacements"]])
except Exception as error:
    FINAL(str(error))
"""
HOSTILE = """
fs.stat("app.py")  # a worker that runs already gets no time to start
try:
    code.find_functions(".", pattern="(a+)+[0-9]$")
except Exception as error:
    FINAL(str(error))
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "app.py").write_text("import os\n@x\ndef a_util(b):\n    return b\ndef getUserData(): ...\n")
    (folder / "use.py").write_text("from app import getUserData\ngetUserData()  # getUserData\n")
    return folder


def final(tree: Path, code: str, **settings: Any) -> Any:
    """What a cell gives to FINAL."""
    config = Config(allowed_paths=(str(tree),), log_dir=str(tree.parent / "logs"), **settings)
    with RLM(ScriptedBackend([tool_call("execute_code", code=code)]), config=config) as rlm:
        result = rlm.completion("Go.")
    result.raise_for_status()
    return result.value


def test_functions_are_taken_out_into_a_file(tree: Path) -> None:
    assert final(tree, EXTRACT, helper_rights=RIGHTS) == ["a_util"]
    assert (tree / "utils.py").read_text() == "@x\ndef a_util(b):\n    return b\n"


def test_a_tree_is_audited(tree: Path) -> None:
    assert final(tree, AUDIT) == [["app.py", 2, 2, [{"name": "os", "line": 1}]], ["use.py", 0, 0, []]]


def test_a_name_is_changed_everywhere(tree: Path) -> None:
    assert final(tree, RENAME, helper_rights=RIGHTS) == [2, 3]
    assert (tree / "use.py").read_text() == "from app import fetchUserData\nfetchUserData()  # getUserData\n"


def test_a_rename_needs_the_right_to_write(tree: Path) -> None:
    assert "not allowed here" in final(tree, RENAME, helper_rights=("read",))
    assert "getUserData()" in (tree / "use.py").read_text()


def test_a_pattern_that_never_ends_is_stopped(tree: Path) -> None:
    (tree / "long.py").write_text(f"def {'a' * 60}(): ...\n")
    assert "took" in final(tree, HOSTILE, cell_timeout_s=1.0)


def test_many_files_are_parsed_in_processes_that_are_stopped_too(tree: Path) -> None:
    for number in range(150):
        (tree / f"long_{number}.py").write_text(f"def {'a' * 60}(): ...\n")
    assert "took" in final(tree, HOSTILE, cell_timeout_s=1.0)
