"""The time of a run is predicted from runs like it; those that ran out of time count as longer than they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm import RLM
from rlm.backends.scripted import ScriptedBackend
from rlm.core.budget import Budget
from rlm.core.config import Config
from rlm.runtime.predicted_time import Took, predicted_time, time_within

RUNS = st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=40)


@given(RUNS)
def test_it_is_the_estimate_of_kaplan_and_meier(runs):
    from scipy.stats import CensoredData, ecdf

    ended, cut_off = ([float(s) for s, is_cut in runs if is_cut is wanted] for wanted in (False, True))
    cdf = ecdf(CensoredData(uncensored=ended, right=cut_off)).cdf
    reached = [t for t, p in zip(cdf.quantiles, cdf.probabilities, strict=True) if p >= 0.9 - 1e-9]
    found = time_within(0.9, [Took(seconds=s, is_cut_off=is_cut) for s, is_cut in runs])
    assert found == (reached[0] if reached else None)


def test_a_run_that_ran_out_of_time_counts_as_longer():
    ended = [Took(seconds=float(s)) for s in range(1, 11)]
    assert time_within(0.9, ended) == 9.0
    assert time_within(0.9, [*ended, Took(seconds=2.5, is_cut_off=True)]) == 10.0
    assert time_within(0.9, [Took(seconds=1.0, is_cut_off=True)]) is None


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Settings under which six runs without data were made."""
    config = Config(model="m", environment="local", log_dir=str(tmp_path_factory.mktemp("logs")))
    with RLM(ScriptedBackend(lambda _request: "done"), config=config) as rlm:
        for _ in range(6):
            rlm.completion("?").raise_for_status()
    return config


def test_it_is_said_with_its_reason_and_scaled_by_the_load(known):
    found = predicted_time(known, 0, load=1.0)
    assert found.timeout_s is not None
    assert found.timeout_s < 600
    assert "nine in ten of 6 runs like this one took at most" in found.reason
    assert found.within(known).budget.timeout_s == found.timeout_s
    busy = predicted_time(known, 0, load=4.0)
    assert "times 4 for the load" in busy.reason


def test_it_is_never_above_the_cap_and_needs_runs_that_are_like_it(known):
    import msgspec

    capped = msgspec.structs.replace(known, budget=Budget(timeout_s=0.001))
    assert predicted_time(capped, 0).timeout_s == 0.001
    for other in (predicted_time(known, 50_000_000), predicted_time(msgspec.structs.replace(known, model="n"), 0)):
        assert (other.timeout_s, "0 runs like this one are known" in other.reason) == (600.0, True)
