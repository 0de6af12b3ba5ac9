"""Chooses the view for an address, draws the head above it, and keeps the page of a running run up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from rlm_visualizer.addresses import Place, of_run
from rlm_visualizer.elements import badge, h, link
from rlm_visualizer.formats import line
from rlm_visualizer.mounting import ASSETS, chrome, errors_shown, here
from rlm_visualizer.source import index
from rlm_visualizer.views import budget, compare, overview, runs, search, steps, timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.trajectory.states import RunState
    from rlm_visualizer.elements import Child, Element

FOLLOW_S = 2.0
"""Seconds from one look for new events to the next."""
TABS = (
    ("overview", "Overview"),
    ("steps", "Steps"),
    ("timeline", "Timeline"),
    ("budget", "Budget"),
    ("search", "Search"),
    ("compare", "Compare"),
)
RUN_VIEWS: dict[str, Callable[[Place, RunState], None]] = {
    "overview": overview.page,
    "steps": steps.page,
    "timeline": timeline.page,
    "budget": budget.page,
    "search": search.of_run,
    "compare": compare.page,
}
STILL = ("search", "compare")
"""Views that don't follow a run by themselves, since a reader is at work in them."""
KEYS = (
    ("→ or j", "next step"),
    ("← or k", "previous step"),
    ("e", "next error"),
    ("1 … 6", "views of a run"),
    ("/", "to the search field"),
    ("g", "all runs"),
    ("?", "this list"),
)


def main() -> None:
    """Make the page of the browser's address."""
    st.set_page_config(page_title="rlm", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    place, run = here(), None
    head, body = st.container(), st.container()
    with body, errors_shown():
        run = _run(place)
    with head:
        chrome(_head(place, run), place, f"{run.id[:8]} {line(run.prompt, 40)}" if run else "rlm runs")
    if run is not None or not place.run:
        with body, errors_shown():
            _page(place, run)


def _run(place: Place) -> RunState | None:
    """The run of an address, as far as it is recorded now; None if the address names no run."""
    if not place.run:
        return None
    index().refresh()
    return index().run(place.run)


def _page(place: Place, run: RunState | None) -> None:
    if run is None:
        (search.of_all if place.view == "search" else runs.page)(place)
    elif run.status == "running" and place.view not in STILL:
        st.fragment(_live, run_every=FOLLOW_S)(place, run.id)
    else:
        RUN_VIEWS[place.view or "overview"](place, run)


def _live(place: Place, run_id: str) -> None:
    """A view of a running run; when the run has ended, or a click led elsewhere, the whole page is drawn again."""
    with errors_shown():
        index().refresh(run_id)
        run = index().run(run_id)
        if run.status != "running" or here() != place:
            st.rerun()
        RUN_VIEWS[place.view or "overview"](place, run)


def _head(place: Place, run: RunState | None) -> Element:
    where: list[Child] = [link("rlm", Place(), "a.brand", keys="g")]
    if run is None:
        tabs = [
            _tab("Runs", Place(), on=place.view != "search"),
            _tab("Search", Place(view="search"), on=place.view == "search"),
        ]
    else:
        tabs = [
            _tab(text, of_run(run.id, view), on=(place.view or "overview") == view, keys=str(number))
            for number, (view, text) in enumerate(TABS, 1)
        ]
        where += [
            h("span.sep", "/"),
            h("span.mono", run.id[:8]),
            badge(run.status),
            h("span.crumb", line(run.prompt, 120)),
        ]
    return h("header.top", h("div.where", *where, _help()), h("nav.tabs", *tabs))


def _tab(text: str, place: Place, *, on: bool, keys: str = "") -> Element:
    return link(text, place, "a.tab.on" if on else "a.tab", keys=keys)


def _help() -> Element:
    rows = [h("div.key", h("kbd", key), h("span", what)) for key, what in KEYS]
    return h("details.help", h("summary", "Keys"), h("div.help-box", *rows), id="keys", keys="?")
