"""When everything happened and what it cost: all spans on one canvas, and below it the one that was clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm_visualizer.addresses import COLOURS, LAYOUTS, Place
from rlm_visualizer.elements import h, link, notice
from rlm_visualizer.formats import plural
from rlm_visualizer.mounting import draw, show
from rlm_visualizer.packing import pack
from rlm_visualizer.source import index
from rlm_visualizer.views.detail import detail

if TYPE_CHECKING:
    from rlm.trajectory.states import RunState
    from rlm_visualizer.elements import Element
    from rlm_visualizer.selection import Selection

SPANS = 200_000
"""The most spans on one canvas."""


def page(place: Place, run: RunState, selection: Selection) -> None:
    """The canvas, what it is coloured by, and below it the detail of what is selected."""
    if not 0 < run.spans <= SPANS:
        text = (
            "Nothing has begun yet" if not run.spans else f"This run has {run.spans:,} spans, too many for one picture"
        )
        show(notice(text, "The steps and the tree show all of them."), "timeline-none")
        return
    times = index().timeline(run.id)
    layout, colour = place.layout or "timeline", place.colour or ("kind" if place.layout != "flame" else "tokens")
    show(_choices(place, layout, colour, run), "timeline-head")
    draw(pack(times, {"run": run.id, "layout": layout, "colour": colour}), "timeline")
    if place.at and selection.span is not None:
        detail(place, run, selection.span)
    else:
        show(h("div.muted.foot", "Click a span to see what it is; e leads to the next failure."), "timeline-hint")


def _choices(place: Place, layout: str, colour: str, run: RunState) -> Element:
    return h(
        "div.ways",
        h("span.label", "Layout"),
        h("span.segments", *(_segment(name, place.to(layout=name), on=name == layout) for name in LAYOUTS)),
        h("span.label", "Colour"),
        h("span.segments", *(_segment(name, place.to(colour=name), on=name == colour) for name in COLOURS)),
        h("span.grow"),
        h("span.muted", f"{plural(run.spans, 'span')} · wheel zooms, drag moves, double click shows all"),
    )


def _segment(text: str, place: Place, *, on: bool) -> Element:
    return link(text, place, "a.segment.on" if on else "a.segment", current=on)
