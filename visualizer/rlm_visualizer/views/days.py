"""What runs came to, day by day and model by model: how many, how many failed, what they cost, how long they took."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rlm.trajectory.index.rows import RunQuery
from rlm_visualizer.elements import h, notice, pager, table
from rlm_visualizer.formats import UNKNOWN, count, dollars, duration, line, plural
from rlm_visualizer.mounting import show
from rlm_visualizer.source import index

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rlm.trajectory.states import RunState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Element

RUNS = 20_000
"""The most runs that are counted, the latest."""
PAGE = 60
_HEADS = ("Day", "Model", "Runs", "Failed", "At a limit", "Cost", "Median time", "95 % within", "Tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The runs of one model that began on one day."""

    day: str
    model: str
    runs: int
    failed: int
    """Failed, or cut off without an end."""
    limited: int
    cost_usd: float
    """The sum of the known costs."""
    unpriced: int
    """Runs with calls of unknown price."""
    median_s: float
    most_s: float
    """The time within which 95 of 100 ended."""
    tokens: int


def page(place: Place) -> None:
    """The table, the latest day first."""
    index().refresh()
    found = days(index().runs(RunQuery(limit=RUNS)).rows)
    if not found:
        show(notice("There are no runs to count"), "days")
        return
    shown = found[place.page * PAGE : (place.page + 1) * PAGE]
    rows = [_row(day) for day in shown]
    heads = [h("th.num", head) if number > 1 else h("th", head) for number, head in enumerate(_HEADS)]
    total = h(
        "div.foot", h("span.muted", plural(sum(day.runs for day in found), "run")), pager(place, len(found), PAGE)
    )
    show(h("section.days", table(heads, rows), total), "days")


def days(runs: Iterable[RunState]) -> list[Day]:
    """The runs by day and model, the latest day first; runs still in progress count for their cost alone."""
    groups: dict[tuple[str, str], list[RunState]] = defaultdict(list)
    for run in runs:
        groups[_day(run.started_at), run.model].append(run)
    return [_summed(*key, group) for key, group in sorted(groups.items(), key=lambda each: each[0], reverse=True)]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them doesn't exceed; 0 for no values."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


def _day(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def _summed(day: str, model: str, runs: Sequence[RunState]) -> Day:
    times = [run.duration_s for run in runs if run.status != "running"]
    return Day(
        day=day,
        model=model,
        runs=len(runs),
        failed=sum(run.status in ("failed", "crashed") for run in runs),
        limited=sum(run.status == "limit" for run in runs),
        cost_usd=sum(run.spent_usd for run in runs),
        unpriced=sum(run.unpriced > 0 for run in runs),
        median_s=quantile(times, 0.5),
        most_s=quantile(times, 0.95),
        tokens=sum(run.tokens for run in runs),
    )


def _row(day: Day) -> Element:
    cost = dollars(day.cost_usd) + (f" and {plural(day.unpriced, 'run')} of unknown price" if day.unpriced else "")
    today = " (today)" if day.day == _day(time.time()) else ""
    return h(
        "tr",
        h("td.nowrap", day.day + today),
        h("td", line(day.model, 40)),
        h("td.num", f"{day.runs:,}"),
        h("td.num.tone-failed.said" if day.failed else "td.num.dim", f"{day.failed:,}"),
        h("td.num.tone-limit.said" if day.limited else "td.num.dim", f"{day.limited:,}"),
        h("td.num", cost),
        h("td.num", duration(day.median_s)),
        h("td.num", duration(day.most_s)),
        h("td.num", count(day.tokens)),
    )
