"""Whole runs over random trees of completions, in virtual time: caps hold at every instant, the books agree, nothing
hangs, nothing is left and nothing is lost. `TREES=10000` grows so many; see `benchmarks/trees.py` for figures."""

import asyncio
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tree_checks import check
from tests.support.tree_runs import grow
from tests.support.trees import draw_plan
from tests.support.virtual_time import Stuck, run_virtually

TREES = int(os.environ.get("TREES", "200"))
SEEDS = range(600, 600 + TREES)
"""A stretch that holds wide trees and deep ones, as `test_the_trees_are_worth_the_name` checks."""


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@settings(max_examples=80)
@given(st.randoms(use_true_random=False))
def test_every_promise_holds_for_trees_that_are_searched_for(log_dir, rng):
    check(grow(draw_plan(rng), log_dir))


@pytest.fixture(scope="module")
def grown(log_dir):
    """Without masking, which takes a third of the time: the trees that are searched for have it."""
    return [grow(draw_plan(random.Random(seed)), log_dir, mask="off") for seed in SEEDS]


def test_every_promise_holds_for_many_trees(grown):
    for each in grown:
        check(each)


def test_the_trees_are_worth_the_name(grown):
    """What was drawn covers what is claimed, else all of the above proves little."""
    assert {each.result.status for each in grown} == {"completed", "limit", "cancelled", "failed"}
    assert {each.result.limit for each in grown} >= {"max_turns", "token_budget", "timeout_s", "tool_budget"}
    assert max(each.result.usage.depth_reached for each in grown) >= 3
    assert max(each.model.made.peak_in_flight for each in grown) > 10
    assert max(each.sandbox.peak_alive for each in grown) > 10


def test_a_program_that_waits_for_ever_is_found_out():
    async def wait():
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="deadlock"):
        run_virtually(wait())
