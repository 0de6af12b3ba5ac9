"""Models that misbehave in three replies of ten still answer right: the suite, the real loop, the real sandbox."""

import dataclasses

import pytest

from benchmarks.suite import tasks
from benchmarks.suite.noise import KINDS
from benchmarks.suite.run import Noise, by_turns, in_both, share_landed, stage

SEED = 11
SUITE = tasks.suite(SEED, per_kind=4, records=60)
HALF = tasks.suite(SEED, per_kind=2, records=60)
"""Every kind of task over every shape of context, twice; `python -m benchmarks.suite` plays more of them."""


@pytest.fixture(scope="module")
def played():
    """The stage that all tests share, for its sandboxes are warm."""
    with stage() as opened:
        yield opened


def lost(tries):
    """What to read when too few landed."""
    return [
        (each.dialect, each.task.name, each.result.status, each.result.response) for each in tries if not each.landed
    ]


def play(stage_open, pairs, *kinds, share=0.3):
    noise = Noise(kinds=kinds, share=share, seed=SEED)
    return [stage_open.play(task, dialect, noise) for task, dialect in pairs]


def test_the_suite_has_every_kind_of_task_over_every_shape_of_context():
    names = {task.name.rpartition("-")[0] for task in SUITE}
    assert names == {f"{kind}-{shape}" for kind in tasks.KINDS for shape in tasks.SHAPES}
    assert len(SUITE) >= 40


def test_a_wrong_or_a_missing_answer_does_not_land(played):
    task = SUITE[0]
    wrong = dataclasses.replace(task, answer="something else")
    (right,) = play(played, [(task, "code")])
    assert right.landed
    assert not dataclasses.replace(right, task=wrong).landed
    assert not task.accepts(f"{task.answer} or {tasks.WRONG_ANSWERS[0]}")


def test_a_model_that_behaves_lands_them_all(played):
    assert lost(play(played, by_turns(SUITE))) == []


def test_a_model_that_misbehaves_in_every_way_lands_95_of_100(played):
    tries = play(played, in_both(SUITE), *KINDS)
    assert share_landed(tries) >= 0.95, lost(tries)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_misbehaves_in_one_way_lands_90_of_100(played, kind):
    tries = play(played, by_turns(HALF), kind)
    assert share_landed(tries) >= 0.90, lost(tries)
