"""A run in one place: the tree of its calls on the left, and on the right whatever is selected in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from rlm_visualizer.addresses import KINDS, PICKS, Place
from rlm_visualizer.elements import h, link, notice, pager
from rlm_visualizer.formats import line
from rlm_visualizer.mounting import show
from rlm_visualizer.source import index
from rlm_visualizer.tree import PAGE, Unfolded, call_tree, picked_list
from rlm_visualizer.views.detail import detail

if TYPE_CHECKING:
    from rlm.trajectory.states import RunState
    from rlm_visualizer.elements import Element
    from rlm_visualizer.selection import Selection


def page(place: Place, run: RunState, selection: Selection) -> None:
    """The tree, and the detail of what is selected; what is unfolded is kept while the page is open."""
    if selection.span is None:
        show(notice("Nothing has begun yet", "The calls appear as they begin."), "nothing")
        return
    unfolded: Unfolded = st.session_state.setdefault(f"unfolded-{run.id}", Unfolded())
    beside, main = st.columns([1, 1.9], gap="medium")
    with beside:
        show(_side(place, run, selection, unfolded), "side", unfolded.take)
    with main:
        detail(place, run, selection.span)


def _side(place: Place, run: RunState, selection: Selection, unfolded: Unfolded) -> Element:
    """The filters, and below them the tree or what they pick out."""
    is_picked = bool(place.pick or place.kind or place.model)
    calls = (
        picked_list(index(), run, place, selection.span)
        if is_picked
        else call_tree(index(), run, place, selection.span, unfolded)
    )
    total = run.spans if is_picked else 0
    return h("section.side", _filters(place, run), calls, pager(place, total, PAGE) if place.pick != "failed" else None)


def _filters(place: Place, run: RunState) -> Element:
    """What the list shows: the tree, or calls by what became of them, by kind, by model."""
    picks = [_pick("tree", place.to(pick="", kind="", model=""), on=not (place.pick or place.kind or place.model))]
    picks += [_pick(name, place.to(pick=name), on=place.pick == name) for name in PICKS]
    kinds = [
        _pick(_PLURALS[kind], place.to(kind="" if place.kind == kind else kind), on=place.kind == kind)
        for kind in KINDS
    ]
    names = index().models(run.id)
    models = (
        [
            _pick(line(name, 30), place.to(model="" if place.model == name else name), on=place.model == name)
            for name in names
        ]
        if len(names) > 1
        else []
    )
    more = h(
        "details.more",
        h("summary", "by kind" + (" or model" if models else "")),
        h("div.segments.wrap", *kinds, *models),
        id="filters",
        open=bool(place.kind or place.model),
    )
    return h("div.filters", h("span.segments", *picks), more)


_PLURALS = {"completion": "children", "turn": "turns", "model": "model calls", "exec": "cells", "tool": "tools"}


def _pick(text: str, place: Place, *, on: bool) -> Element:
    return link(text, place, "a.segment.on" if on else "a.segment", current=on)
