"""A class name stands for one class: a reader who has met it once knows it everywhere."""

from __future__ import annotations

from benchmarks.structure import SRC, parse, shared_names


def test_no_two_public_classes_share_a_name() -> None:
    assert shared_names(parse(SRC)) == {}
