"""The burn-down: what a run had spent of each of its caps, from its first call to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm_visualizer.burndown import Curve, bucketed, curves
from rlm_visualizer.elements import h, notice
from rlm_visualizer.formats import duration, line, plural
from rlm_visualizer.mounting import show
from rlm_visualizer.source import index
from rlm_visualizer.views.whole_run import spent_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.trajectory.states import RunState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element
    from rlm_visualizer.selection import Selection

WIDTH, HEIGHT = 600, 150


def page(place: Place, run: RunState, selection: Selection) -> None:  # noqa: ARG001 - all views are called alike
    """A chart for each cap, and the caps as they were set."""
    burned = index().burndown(run.id)
    if not len(burned):
        show(notice("Nothing is spent yet", "A chart appears with the first answer of a model."), "budget")
        return
    length_s = max(run.duration_s, burned.at[-1], 1e-6)
    charts = [_chart(curve, burned.at, length_s) for curve in curves(burned)]
    priced = (
        None
        if burned.priced
        else h("div.remark.tone-warning", "The price of some calls is unknown: they are not part of the cost.")
    )
    show(h("section", priced, _served(run), h("div.charts", *charts), _caps(run)), "budget")


def _served(run: RunState) -> Element | None:
    if not run.served_calls:
        return None
    said = f"It {line(run.origin(), 40)}, whose {spent_before(run)} count against the caps: curves begin there."
    return h("div.remark.tone-quiet", said)


def _chart(curve: Curve, at: Sequence[float], length_s: float) -> Element:
    top = max(curve.values[-1], 1e-12) * 1.08
    if curve.cap is not None and curve.used > 0.4:
        top = max(curve.cap * 1.02, top)
    points = [(0.0, 0.0), *bucketed(at, curve.values, length_s), (length_s, curve.values[-1])]
    steps = _path(points, length_s, top)
    drawn: list[Child] = [
        h("path.area", d=f"{steps} V {HEIGHT} H 0 Z"),
        h("path.curve", d=steps, **{"vector-effect": "non-scaling-stroke"}),
    ]
    if curve.cap is not None and curve.cap <= top:
        y = round(HEIGHT - curve.cap / top * HEIGHT, 1)
        drawn.append(h("line.cap", x1=0, x2=WIDTH, y1=y, y2=y, **{"vector-effect": "non-scaling-stroke"}))
    picture = h("svg.chart", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", preserveAspectRatio="none")
    return h(
        f"div.card.tone-{curve.tone}",
        _figures(curve),
        picture,
        h("div.axis", h("span", "0 s"), h("span", duration(length_s))),
    )


def _figures(curve: Curve) -> Element:
    left = f"of {curve.format(curve.cap)} · {curve.used:.0%} used" if curve.cap is not None else "no cap"
    meter = h("div.meter", h("div.meter-fill", bar=min(round(curve.used, 4), 1.0))) if curve.cap is not None else None
    return h(
        "div",
        h(
            "div.card-head",
            h("h3", curve.title),
            h("span.grow"),
            h("b", curve.format(curve.values[-1])),
            h("span.muted", left),
        ),
        meter,
    )


def _path(points: Sequence[tuple[float, float]], length_s: float, top: float) -> str:
    """The path of a curve in steps: what is spent stays the same until the next call."""
    drawn = [f"M 0 {HEIGHT}"]
    for at, value in points:
        drawn.append(f"H {round(at / length_s * WIDTH, 1):g} V {round(HEIGHT - value / top * HEIGHT, 1):g}")
    return " ".join(drawn)


def _caps(run: RunState) -> Element:
    rows = [
        h("div.number", h("span.label", line(name, 40)), h("b", "none" if cap is None else line(str(cap), 40)))
        for name, cap in run.budget.items()
    ]
    limit = h("div.remark.tone-limit", f"This run reached {line(run.limit, 60)}.") if run.limit else None
    return h("div.card", h("h3", f"Caps of this run ({plural(len(rows), 'cap')})"), limit, h("div.numbers", *rows))
