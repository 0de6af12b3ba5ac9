from __future__ import annotations

from array import array
from typing import Any

from rlm_visualizer.burndown import POINTS, bucketed, curves

from rlm.trajectory.index.rows import Burndown


def burned(caps: dict[str, Any]) -> Burndown:
    """Two calls: 100 tokens after one second, 900 after two."""
    return Burndown(
        at=array("d", [1.0, 2.0]),
        tokens=array("q", [100, 900]),
        cost_usd=array("d", [0.0, 0.0]),
        model_calls=array("q", [1, 2]),
        subcalls=array("q", [0, 1]),
        tool_calls=array("q", [0, 0]),
        origin=0.0,
        priced=True,
        caps=caps,
    )


def test_only_what_is_spent_has_a_curve() -> None:
    found = {curve.title: curve for curve in curves(burned({"token_budget": 1_000, "subcall_budget": None}))}
    assert list(found) == ["Tokens", "Sub-calls", "Model calls"]
    assert (found["Tokens"].used, found["Tokens"].tone) == (0.9, "limit")
    assert (found["Sub-calls"].cap, found["Sub-calls"].used, found["Sub-calls"].tone) == (None, 0.0, "quiet")


def test_a_cap_that_is_no_number_is_none() -> None:
    for cap in ("many", -1, 0, [], {}):
        assert curves(burned({"token_budget": cap}))[0].cap is None


def test_few_points_stand_for_many() -> None:
    at = [number / 100 for number in range(10_000)]
    kept = bucketed(at, list(range(10_000)), 100.0)
    assert len(kept) <= POINTS + 1
    assert kept[-1] == (99.99, 9_999)
