"""Replies composed of the forms of many families are read right; without any one rule of the dialects they are not."""

import pytest

from benchmarks.replies import SWITCHES, first_misread, without

SEED = 7


def test_what_is_meant_is_found_among_what_is_not():
    assert first_misread(SEED, replies=400) == (400, None)


@pytest.mark.parametrize("rule", SWITCHES)
def test_a_rule_that_is_missing_is_missed(rule):
    with without(rule):
        assert first_misread(SEED, replies=4000)[1] is not None
