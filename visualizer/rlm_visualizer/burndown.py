"""The curves of a burn-down, one for each cap, and a number of points that can be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm_visualizer.formats import count, dollars

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rlm.trajectory.index.rows import Burndown

POINTS = 240
"""The most points of one curve; more could not be told apart."""
NEAR = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What had been spent after each call, and the cap on it."""

    title: str
    values: Sequence[float]
    cap: float | None
    format: Callable[[float], str]

    @property
    def used(self) -> float:
        """The share of the cap that is spent; 0 without a cap."""
        return self.values[-1] / self.cap if self.cap else 0.0

    @property
    def tone(self) -> str:
        """The tone of the curve, by how near the cap is."""
        return "failed" if self.used >= 1 else "limit" if self.used >= NEAR else "quiet"


def curves(burned: Burndown) -> list[Curve]:
    """One curve for each thing of which anything is spent."""
    found = [
        Curve(title="Cost", values=burned.cost_usd, cap=_cap(burned, "cost_budget_usd"), format=dollars),
        Curve(title="Tokens", values=burned.tokens, cap=_cap(burned, "token_budget"), format=_whole),
        Curve(title="Sub-calls", values=burned.subcalls, cap=_cap(burned, "subcall_budget"), format=_whole),
        Curve(title="Tool calls", values=burned.tool_calls, cap=_cap(burned, "tool_budget"), format=_whole),
        Curve(title="Model calls", values=burned.model_calls, cap=None, format=_whole),
    ]
    return [curve for curve in found if curve.values[-1] > 0]


def bucketed(at: Sequence[float], values: Sequence[float], length_s: float) -> list[tuple[float, float]]:
    """The last point of each of `POINTS` parts of the time; values never fall, so none is lost that would show."""
    kept: dict[int, tuple[float, float]] = {}
    for moment, value in zip(at, values, strict=True):
        kept[min(int(moment / length_s * POINTS), POINTS)] = (moment, value)
    return list(kept.values())


def _cap(burned: Burndown, name: str) -> float | None:
    cap = burned.caps.get(name)
    return float(cap) if isinstance(cap, int | float) and cap > 0 else None


def _whole(value: float) -> str:
    return count(round(value))
