"""A class name stands for one class: a reader who has met it once knows it everywhere."""

from __future__ import annotations

from benchmarks.structure import shared_names
from tests.architecture.sources import modules


def test_no_two_public_classes_share_a_name() -> None:
    assert shared_names({module.name: module.tree for module in modules()}) == {}
