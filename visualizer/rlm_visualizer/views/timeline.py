"""When everything happened and what it cost: all spans on one canvas, and below it the one that was clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm_visualizer.addresses import COLOURS, LAYOUTS, Place, of_run
from rlm_visualizer.elements import badge, facts, h, link, notice
from rlm_visualizer.formats import count, dollars, duration, line, plural
from rlm_visualizer.mounting import draw, show
from rlm_visualizer.packing import pack
from rlm_visualizer.source import index
from rlm_visualizer.tree import title_of

if TYPE_CHECKING:
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.elements import Element

SPANS = 200_000
"""The most spans on one canvas."""


def page(place: Place, run: RunState) -> None:
    """The canvas, what it is coloured by, and the span that the address picks out."""
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
    picked = index().span(run.id, times.id_of(place.at - 1)) if 0 < place.at <= len(times) else None
    show(_picked(run, picked), "timeline-picked")


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
    return link(text, place, "a.segment.on" if on else "a.segment")


def _picked(run: RunState, span: SpanState | None) -> Element:
    if span is None:
        return h("div.muted.foot", "Click a span to see what it is.")
    took = (run.last_at if span.ended_at is None else span.ended_at) - span.started_at
    tone = {"ok": "completed", "error": "failed"}.get(span.status, "running")
    return h(
        "div.card",
        h(
            "div.card-head",
            h(f"span.chip.kind-{span.kind}", title_of(span)),
            badge(span.status, tone),
            h("span.muted", line(span.model, 60)),
            h("span.grow"),
            link("Open its step →", of_run(run.id, "steps", span=span.id), "a.button"),
        ),
        facts(
            (
                ("Began", f"+{duration(max(span.started_at - run.started_at, 0.0))}", ""),
                ("Time", duration(max(took, 0.0)), ""),
                ("Tokens", count(span.total_tokens), "with everything below"),
                ("Cost", dollars(span.total_cost_usd), "with everything below"),
                ("Calls", count(span.total_calls), f"{span.total_errors} failed" if span.total_errors else ""),
            )
        ),
        h("pre.prose", line(span.head or span.detail, 400)) if span.head or span.detail else None,
    )
