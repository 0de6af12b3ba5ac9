"""The time and the size of a last answer, by what a model has shown."""

import sys

from rlm.core.loop.pace import LEAST_TOKENS, Pace


def paced(*replies):
    pace = Pace()
    for seconds, tokens in replies:
        pace.heard(seconds, tokens)
    return pace


def test_a_slow_model_gets_the_time_of_its_slowest_replies():
    assert paced((51.2, 512), (8, 60)).landing_s == 102.4


def test_a_landing_is_no_longer_than_its_time_allows():
    assert paced((20, 100), (5, 100)).tokens_in(30) == 240  # after 15 s for the prompt, twenty tokens a second
    assert paced((300, 10)).tokens_in(30) == LEAST_TOKENS


def test_of_replies_from_a_record_nothing_is_learnt():
    pace = paced((0.0001, 500), (3, 0))
    assert (pace.landing_s, pace.tokens_in(30)) == (0, sys.maxsize)
