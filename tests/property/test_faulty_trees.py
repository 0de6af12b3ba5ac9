"""Whole runs over a real server that cuts off, hangs, misreports and overruns: what it served never passes a cap, nor
what the run reports. `python -m benchmarks.faulty_trees` grows a thousand."""

from collections import Counter

import pytest

from tests.support.faulty_trees import grow_over_http, problems

SEEDS = range(100, 130)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    log_dir = tmp_path_factory.mktemp("logs")
    return [grow_over_http(seed, log_dir) for seed in SEEDS]


def test_what_a_faulty_server_serves_is_charged_and_passes_no_cap(grown):
    assert [problem for each in grown for problem in problems(each)] == []


def test_the_trees_met_every_fault(grown):
    """What was drawn covers what is claimed, else all of the above proves little."""
    met = sum((Counter(each.books.faults) for each in grown), Counter())
    assert len(met) == 9
    assert min(met.values()) > 5
    assert {each.result.status for each in grown} >= {"completed", "limit", "failed"}


def test_a_server_that_overruns_is_left_before_it_has_written_much(tmp_path):
    for seed in range(5):
        each = grow_over_http(seed, tmp_path, faulty=0.2, overruns=0.3)
        assert problems(each) == []
