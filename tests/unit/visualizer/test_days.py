"""What runs came to, day by day and model by model."""

from __future__ import annotations

import pytest
from rlm_visualizer.views.days import days, quantile

from rlm.trajectory.states import RunState

NOON = 1_800_000_000.0


def run(took_s: float, status: str = "completed", model: str = "m", at: float = NOON, unpriced: int = 0) -> RunState:
    return RunState(
        "ab",
        status=status,
        started_at=at,
        last_at=at + took_s,
        ended_after_s=took_s,
        model=model,
        spent_usd=0.5,
        unpriced=unpriced,
        input_tokens=10,
    )


def test_runs_are_summed_by_day_and_model_the_latest_day_first() -> None:
    later = NOON + 86_400
    found = days(
        [run(1), run(3, "failed"), run(9, "limit"), run(2, model="n"), run(5, "crashed", at=later, unpriced=2)]
    )
    assert [(day.model, day.runs, day.failed, day.limited) for day in found] == [
        ("m", 1, 1, 0),
        ("n", 1, 0, 0),
        ("m", 3, 1, 1),
    ]
    assert (found[2].median_s, found[2].most_s, found[2].cost_usd, found[2].tokens) == (3, 9, 1.5, 30)
    assert found[0].unpriced == 1


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.95, 95.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert quantile([float(number) for number in range(100, 0, -1)], share) == value
    assert quantile([], share) == 0


def test_a_moment_that_no_calendar_has_is_a_day_of_its_own() -> None:
    assert [day.day for day in days([run(1, at=1e11 * 1e3)])] == ["–"]
