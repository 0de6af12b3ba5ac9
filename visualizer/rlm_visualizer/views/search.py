"""The search for a text, in one run or in all: each place with the words around it and a link to its step."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import streamlit as st

from rlm.trajectory.search import search
from rlm_visualizer.addresses import of_run as place_of
from rlm_visualizer.elements import badge, h, notice
from rlm_visualizer.fields import text_field
from rlm_visualizer.formats import flat, joined, line, plural
from rlm_visualizer.mounting import show
from rlm_visualizer.source import index

if TYPE_CHECKING:
    from rlm.trajectory.search import Hit
    from rlm.trajectory.states import RunState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element

HITS = 100
SHORTEST = 2


def of_all(place: Place) -> None:
    """The search over every run."""
    index().refresh()
    _page(place, None)


def of_run(place: Place, run: RunState) -> None:
    """The search in one run."""
    _page(place, run)


def _page(place: Place, run: RunState | None) -> None:
    wanted = "Search in this run: prompts, replies, code, output, errors" if run else "Search in all runs"
    text_field(st.container(), "q", "Search", wanted, ":material/search:")
    text = place.q.strip()
    if len(text) < SHORTEST:
        show(notice("Words to look for, as they are written", "Capitals count if there are any."), "hits")
        return
    found = search(index(), text, run.id if run else None, limit=HITS)
    show(_results(found, text), "hits")


def _results(found: list[Hit], text: str) -> Element:
    if not found:
        return notice(f"“{line(text, 60)}” was not found")
    many = "the first " if len(found) >= HITS else ""
    groups = [_of_one(run_id, list(hits)) for run_id, hits in groupby(found, key=lambda hit: hit.run_id)]
    return h("section", h("div.muted.foot", f"{many}{plural(len(found), 'place')}"), *groups)


def _of_one(run_id: str, hits: list[Hit]) -> Element:
    run = index().run(run_id)
    head = h(
        "a.card-head",
        h("span.mono", run_id[:8]),
        badge(run.status),
        h("span.head", line(run.prompt, 110)),
        h("span.grow"),
        h("span.muted", plural(len(hits), "place")),
        go=place_of(run_id),
    )
    return h("div.card.flush", head, *(_hit(hit, run) for hit in hits))


def _hit(hit: Hit, run: RunState) -> Element:
    began, end = hit.start, hit.start + hit.length
    words: list[Child] = [
        flat(hit.excerpt[:began]),
        h("b.found", flat(hit.excerpt[began:end])),
        flat(hit.excerpt[end:]),
    ]
    return h(
        "a.hit",
        h("span.mono.dim", f"{line(hit.type, 30)}"),
        h("span.excerpt", *words),
        h("span.muted.nowrap", joined([f"+{max(hit.at - run.started_at, 0.0):.1f} s"])),
        go=place_of(run.id, "steps", span=hit.span),
    )
