"""The report of `rlm replay` in words."""

from __future__ import annotations

from rlm.cli.commands.replay import as_text
from rlm.core.replay.serving import Difference, ReplayReport


def test_the_remark_on_masked_texts_is_not_counted_as_a_difference() -> None:
    difference = Difference(depth=0, turn=1, cell=1, what="output", before="a", after="b")
    text = as_text(ReplayReport(cells=1, served=2, differences=(difference,), masked=True))
    assert "masked" in text
    assert text.endswith("1 cell, 2 answers from the record: 1 difference\n")


def test_a_replay_that_does_the_same_says_so() -> None:
    assert as_text(ReplayReport(cells=1, served=2)) == "1 cell, 2 answers from the record: no difference\n"
