"""Whatever a text file holds, what an edit does not name stays byte for byte, and undo brings all of it back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined, Place
from rlm.helpers.operations import find
from rlm.helpers.performing import perform
from rlm.helpers.sources import NotText, Source, lines_of
from rlm.helpers.workspace import Workspace

PLACE = Place(root=Path("/"), parts=("a",))


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_text_is_taken_and_given_back_byte_for_byte(content: bytes) -> None:
    try:
        source = Source.of(PLACE, "a", content)
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


@given(
    st.lists(st.tuples(st.integers(1, 6), st.text("xyz\n", min_size=1, max_size=6)), max_size=5),
    st.text("ab\n", max_size=12),
)
def test_a_chain_of_edits_is_undone_whole(edits: list[tuple[int, str]], content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        (root / "a").write_text(content)
        work = Workspace(
            confined=Confined([root]),
            rights=frozenset({"read", "write"}),
            journal=os.path.join(folder, "undo"),  # noqa: PTH118
        )
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
