"""The search for a text, in one run or in all: each place with the words around it and a link to its step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from rlm.core.exceptions import ConfigError
from rlm.trajectory.index.rows import RunQuery
from rlm.trajectory.search import search
from rlm_visualizer.addresses import of_run as place_of
from rlm_visualizer.elements import badge, h, notice, pager
from rlm_visualizer.fields import text_field
from rlm_visualizer.formats import flat, joined, line, plural
from rlm_visualizer.mounting import here, show
from rlm_visualizer.source import index

if TYPE_CHECKING:
    from rlm.trajectory.search import Hit
    from rlm.trajectory.states import RunState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element
    from rlm_visualizer.selection import Selection

HITS = 100
"""The most places that are shown of one run."""
EACH = 5
"""The most places that are shown of each run where all are searched."""
PAGE = 25
SHORTEST = 2


def of_all(place: Place) -> None:
    """The search over every run."""
    index().refresh()
    _page(place, None)


def of_run(place: Place, run: RunState, selection: Selection) -> None:  # noqa: ARG001 - all views are called alike
    """The search in one run."""
    _page(place, run)


def _page(place: Place, run: RunState | None) -> None:
    wanted = "Search in this run: prompts, replies, code, output, errors" if run else "Search in all runs"
    text_field(st.container(), "q", "Search", wanted, ":material/search:")
    text = place.q.strip()
    if len(text) < SHORTEST:
        show(notice("Words to look for, as they are written", "Capitals count if there are any."), "hits")
        return
    show(_in_one(run, text) if run else _in_all(place, text), "hits")


def _in_one(run: RunState, text: str) -> Element:
    found = search(index(), text, run.id, limit=HITS + 1)
    if not found:
        return notice(f"“{line(text, 60)}” was not found")
    return h("section", _of_one(run, found, HITS))


def _in_all(place: Place, text: str) -> Element:
    """Every run that has the text, each with its first places."""
    found = [(run, hits) for run in index().runs(RunQuery(limit=0)).rows if (hits := _hits_in(run, text))]
    if not found:
        return notice(f"“{line(text, 60)}” was not found")
    shown = found[place.page * PAGE : (place.page + 1) * PAGE]
    many = h(
        "div.foot", h("span.muted", plural(len(found), "run has it", "runs have it")), pager(place, len(found), PAGE)
    )
    return h("section", many, *(_of_one(run, hits, EACH) for run, hits in shown))


def _hits_in(run: RunState, text: str) -> list[Hit]:
    try:
        return search(index(), text, run.id, limit=EACH + 1)
    except ConfigError:  # its record is gone since, or can't be read; the others can
        return []


def _of_one(run: RunState, hits: list[Hit], most: int) -> Element:
    """The first places in one run."""
    more = len(hits) > most
    many = f"more than {plural(most, 'place')}" if more else plural(len(hits), "place")
    head = h(
        "a.card-head",
        h("span.mono", run.id[:8]),
        badge(run.status),
        h("span.head", line(run.title, 110)),
        h("span.grow"),
        h("span.muted", many),
        go=place_of(run.id, "search", q=here().q) if more and most == EACH else place_of(run.id),
    )
    return h("div.card.flush", head, *(_hit(hit, run) for hit in hits[:most]))


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
        go=place_of(run.id, span=hit.span),
    )
