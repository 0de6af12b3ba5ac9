"""Chooses the view for an address, draws the head above it, and keeps the page of a running run up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from rlm_visualizer.formats import line
from rlm_visualizer.head import head_of
from rlm_visualizer.mounting import ASSETS, chrome, errors_shown, here
from rlm_visualizer.selection import select
from rlm_visualizer.source import index
from rlm_visualizer.views import batch, budget, compare, days, run, runs, search, task_lists, timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.trajectory.states import RunState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.selection import Selection

FOLLOW_S = 2.0
"""Seconds from one look for new events to the next."""
RUN_VIEWS: dict[str, Callable[[Place, RunState, Selection], None]] = {
    "": run.page,
    "timeline": timeline.page,
    "budget": budget.page,
    "search": search.of_run,
    "compare": compare.page,
}
FOLDER_VIEWS: dict[str, Callable[[Place], None]] = {
    "": runs.page,
    "search": search.of_all,
    "days": days.page,
    "tasks": task_lists.page,
    "batch": batch.page,
}
STILL = ("search", "compare")
"""Views that don't follow a run by themselves, since a reader is at work in them."""


def main() -> None:
    """Make the page of the browser's address."""
    st.set_page_config(page_title="rlm", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    place, found = here(), None
    with errors_shown():
        found = _run(place)
    if found is not None and found.status == "running" and place.view not in STILL:
        st.fragment(_live, run_every=FOLLOW_S)(place, found.id)
    elif found is not None:
        _run_page(place, found)
    else:
        chrome(head_of(place, None, None, is_batch=batch.is_here()), place, "rlm runs")
        if not place.run:
            with errors_shown():
                FOLDER_VIEWS.get(place.view, runs.page)(place)


def _run(place: Place) -> RunState | None:
    """The run of an address, as far as it is recorded now; None if the address names no run."""
    if not place.run:
        return None
    index().refresh()
    return index().run(place.run)


def _run_page(place: Place, found: RunState) -> None:
    """The head and the view of a run."""
    selection = None
    with errors_shown():
        selection = select(place, found)
    chrome(head_of(place, found, selection), place, f"{found.id[:8]} {line(found.title, 40)}")
    if selection is not None:
        with errors_shown():
            RUN_VIEWS.get(place.view, run.page)(place, found, selection)


def _live(place: Place, run_id: str) -> None:
    """The page of a running run; when the run has ended, or a click led elsewhere, the whole page is drawn again."""
    with errors_shown():
        index().refresh(run_id)
        found = index().run(run_id)
        if found.status != "running" or here() != place:
            st.rerun()
        _run_page(place, found)
