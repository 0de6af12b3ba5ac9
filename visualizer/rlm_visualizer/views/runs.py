"""The list of runs: filters that are part of the address, a page of rows, and runs in progress that follow by
themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from rlm.trajectory.index.rows import RunQuery
from rlm_visualizer.addresses import STATUSES, Place, of_run
from rlm_visualizer.elements import badge, h, link, notice, pager, table
from rlm_visualizer.fields import choice_field, several_field, text_field
from rlm_visualizer.formats import count, dollars, duration, joined, line, plural, when
from rlm_visualizer.mounting import errors_shown, here, show
from rlm_visualizer.source import elapsed_s, index, log_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.trajectory.index.rows import Page
    from rlm.trajectory.states import RunState
    from rlm_visualizer.elements import Child, Element

PAGE = 50
FOLLOW_S = 2.0
DAY_S = 86_400
AGES = {0: "Any time", 1: "Last day", 7: "Last week", 30: "Last month"}
COSTS = {0.0: "Any cost", 0.01: "≥ $0.01", 0.1: "≥ $0.10", 1.0: "≥ $1", 10.0: "≥ $10"}
_HEADS = (
    ("Status", "status", ""),
    ("Run", "", ""),
    ("Model", "model", ""),
    ("Started", "started", "num"),
    ("Time", "duration", "num"),
    ("Turns", "turns", "num"),
    ("Sub-calls", "calls", "num"),
    ("Tokens", "tokens", "num"),
    ("Cost", "cost", "num"),
)


def page(place: Place) -> None:
    """The filters, and below them the list that follows what happens in the folder."""
    text, model, status, age, cost = st.columns([4, 2, 3.2, 1.5, 1.5], vertical_alignment="center")
    text_field(text, "q", "Search", "Prompt, answer, error or id", ":material/search:")
    text_field(model, "model", "Model", "Model")
    several_field(status, "status", "Status", STATUSES, "Any status")
    choice_field(age, "days", "Started", AGES)
    choice_field(cost, "min_cost", "Cost", COSTS)
    st.fragment(_list, run_every=FOLLOW_S)(place)


def query(place: Place, now: float) -> RunQuery:
    """The query to the index that an address means."""
    return RunQuery(
        status=place.status,
        model=place.model,
        text=place.q,
        since=now - place.days * DAY_S if place.days else None,
        min_cost_usd=place.min_cost or None,
        order=place.order or "started",  # type: ignore[arg-type]  # the address knows the same names
        offset=place.page * PAGE,
        limit=PAGE,
    )


def _list(place: Place) -> None:
    if here() != place:  # a click led elsewhere: the whole page is drawn again
        st.rerun()
    with errors_shown():
        index().refresh()
        show(listing(place, index().runs(query(place, time.time())), time.time()), "runs")


def listing(place: Place, found: Page[RunState], now: float) -> Element:
    """The rows of a page, or why it is empty."""
    if not found.rows:
        return _nothing(place)
    dearest = max((run.cost_usd or 0.0 for run in found.rows), default=0.0)
    longest = max(elapsed_s(run) for run in found.rows)
    rows = [_row(run, now, dearest, longest) for run in found.rows]
    going = sum(run.status == "running" for run in found.rows)
    total = joined([plural(found.total, "run"), f"{going} running" if going else "", str(log_dir())])
    return h(
        "section.runs",
        table(map(_head_of(place), _HEADS), rows),
        h("div.foot", h("span.muted", total), pager(place, found.total, PAGE)),
    )


def _head_of(place: Place) -> Callable[[tuple[str, str, str]], Element]:
    ordered = place.order or "started"

    def head(column: tuple[str, str, str]) -> Element:
        text, order, kind = column
        what = "th.num" if kind else "th"
        if not order:
            return h(what, text)
        mark = " ↓" if order == ordered else ""
        return h(what, link(text + mark, place.to(order=order), "a.sort.on" if mark else "a.sort"))

    return head


def _row(run: RunState, now: float, dearest: float, longest: float) -> Element:
    cells: list[Child] = [
        h("td", badge(run.status)),
        h("td.main", _title(run), h("div.sub", _subtitle(run))),
        h("td.dim.nowrap", line(run.model, 32)),
        h("td.num.dim", when(run.started_at, now)),
        h("td.num.barred", duration(elapsed_s(run)), bar=_share(elapsed_s(run), longest)),
        h("td.num", str(run.turns)),
        h("td.num", count(run.subcalls)),
        h("td.num", count(run.tokens)),
        h("td.num.barred", dollars(run.cost_usd), bar=_share(run.cost_usd or 0.0, dearest)),
    ]
    return h("tr", *cells, go=of_run(run.id))


def _title(run: RunState) -> Element:
    return link(line(run.title, 110) or "no prompt yet", of_run(run.id), "a.title")


def _subtitle(run: RunState) -> str:
    """The outcome of a run, in a few words."""
    ended = run.error or (f"reached {run.limit}" if run.limit else "") or run.response
    return joined([run.id[:8], line(run.origin(), 40), line(ended, 120)])


def _share(value: float, most: float) -> float | None:
    return round(value / most, 3) if most > 0 else None


def _nothing(place: Place) -> Element:
    if place != Place():
        return h("section", notice("No run fits these filters"), h("p", link("Show all runs", Place(), "a.button")))
    return notice(
        f"There are no runs in {log_dir()}", "They appear here as they begin: rlm run … records into this folder."
    )
