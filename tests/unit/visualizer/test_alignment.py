from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rlm_visualizer.alignment import Pair, Row, align, compare


def test_cells_that_share_their_words_stand_beside_each_other() -> None:
    left = ["print(len(context))", "broken code here", "FINAL(total)"]
    right = ["print(len(context))", "FINAL(total + 1)"]
    assert align(left, right) == [Pair(0, 0), Pair(1, None), Pair(2, 1)]


def test_nothing_in_common_is_not_paired() -> None:
    assert align(["alpha beta"], ["gamma delta"]) == [Pair(0, None), Pair(None, 0)]
    assert align([], ["one"]) == [Pair(None, 0)]


@given(st.lists(st.text("ab c", max_size=8), max_size=8), st.lists(st.text("ab c", max_size=8), max_size=8))
def test_every_cell_appears_once_and_in_order(left: list[str], right: list[str]) -> None:
    pairs = align(left, right)
    assert [pair.left for pair in pairs if pair.left is not None] == list(range(len(left)))
    assert [pair.right for pair in pairs if pair.right is not None] == list(range(len(right)))


def test_lines_that_changed_face_each_other() -> None:
    assert compare("a\nb\nc", "a\nx\ny\nc") == [
        Row("same", "a", "a"),
        Row("changed", "b", "x"),
        Row("added", None, "y"),
        Row("same", "c", "c"),
    ]
    assert compare("a\nb", "a") == [Row("same", "a", "a"), Row("removed", "b", None)]
