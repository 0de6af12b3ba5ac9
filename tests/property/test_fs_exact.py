"""Whatever a text file holds, what an edit does not name stays byte for byte, and undo brings all of it back."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined, ConfinedPath
from rlm.helpers.operation_table import find
from rlm.helpers.performing import perform
from rlm.helpers.text_files import NotText, SourceText, lines_of
from rlm.helpers.workspace import Workspace

PATHS = st.lists(st.sampled_from(["a", "b", "c", "tree"]), min_size=1, max_size=4).map("/".join)
PLACE = ConfinedPath(root=Path("/"), parts=("a",))


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_text_is_taken_and_given_back_byte_for_byte(content: bytes) -> None:
    try:
        source = SourceText.of(PLACE, "a", content)
    except NotText:
        return
    assert source.change(source.text).after == content
    assert source.change("".join(source.lines)).after == content


@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20), min_size=1),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_lines_are_those_of_python(lines: list[str], newline: str) -> None:
    text = newline.join(lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(text.encode())
        with path.open(encoding="utf-8", newline=None) as file:
            assert len(lines_of(text)) == len(file.readlines())


def workspace(root: Path) -> Workspace:
    return Workspace(confined=Confined([root]), rights=frozenset({"read", "write"}), journal=str(root.parent / "undo"))


@given(
    st.lists(st.tuples(st.integers(1, 6), st.text("xyz\n", min_size=1, max_size=6)), max_size=5),
    st.text("ab\n", max_size=12),
)
def test_a_chain_of_edits_is_undone_whole(edits: list[tuple[int, str]], content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        (root / "a").write_text(content)
        work = workspace(root)
        for line, text in edits:
            try:
                perform(work, "fs.paste_code", {"target_file": "a", "line_number": line, "code": text})
            except ToolError:
                continue
        done = len(perform(work, "fs.history", {}))  # type: ignore[arg-type]
        if done:
            perform(work, "fs.undo", {"n": done})
        assert (root / "a").read_text() == content
        assert find("fs.undo").right == "write"


@given(st.lists(PATHS, max_size=4), st.lists(st.lists(PATHS, min_size=1, max_size=4), max_size=4), st.integers(1, 4))
def test_folders_come_and_go_with_their_files(there: list[str], batches: list[list[str]], count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        for each in there:
            (root / each).mkdir(parents=True, exist_ok=True)
        root.mkdir(exist_ok=True)
        (root / "x").write_text("x\n")
        work, states = workspace(root), [tree_of(root)]
        for targets in batches:
            copy = {"source_file": "x", "start_line": 1, "end_line": 1}
            try:
                perform(work, "fs.batch_copy", {"operations": [{**copy, "target_file": each} for each in targets]})
            except ToolError:
                assert tree_of(root) == states[-1]
            else:
                states.append(tree_of(root))
        if count < len(states):
            perform(work, "fs.undo", {"n": count})
            assert tree_of(root) == states[-1 - count]


def tree_of(root: Path) -> dict[str, str]:
    return {str(path): path.read_text() if path.is_file() else "" for path in root.rglob("*")}
