"""The head of every page: which run it is, what became of it and what it cost, the views, and the ways to walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm_visualizer.addresses import Place, of_run
from rlm_visualizer.elements import badge, h, link
from rlm_visualizer.formats import count, dollars, duration, joined, line, plural
from rlm_visualizer.source import elapsed_s

if TYPE_CHECKING:
    from rlm.trajectory.states import RunState
    from rlm_visualizer.elements import Child, Element
    from rlm_visualizer.selection import Selection

TABS = (("run", "Run"), ("timeline", "Timeline"), ("budget", "Budget"), ("search", "Search"), ("compare", "Compare"))
KEYS = (
    ("→ or j", "next step"),
    ("← or k", "previous step"),
    ("e / E", "next / previous failure"),
    ("r", "the run as a whole"),
    ("1 … 5", "views of a run"),
    ("/", "to the search field"),
    ("g", "all runs"),
    ("?", "this list"),
)


def head_of(place: Place, run: RunState | None, selection: Selection | None, *, is_batch: bool = False) -> Element:
    """The head; without a run that of the pages of all runs, which may be those of a batch."""
    where: list[Child] = [link("rlm", Place(), "a.brand", keys="g", label="All runs")]
    if run is None:
        tabs = [
            _tab("Runs", Place(), on=place.view not in ("search", "days", "tasks", "batch")),
            _tab("Search", Place(view="search"), on=place.view == "search"),
            _tab("Days", Place(view="days"), on=place.view == "days"),
            _tab("Task lists", Place(view="tasks"), on=place.view == "tasks"),
            *([_tab("Batch", Place(view="batch"), on=place.view == "batch")] if is_batch else []),
        ]
        return h("header.top", h("div.where", *where, _help()), h("nav.tabs", *tabs, label="Views"))
    view = place.view or "run"
    tabs = [
        _tab(text, _view(place, run, name), on=view == name, keys=str(number))
        for number, (name, text) in enumerate(TABS, 1)
    ]
    where += [
        h("span.sep", "/"),
        h("span.mono", run.id[:8]),
        badge(run.status) if not run.is_paused else badge(f"paused by {line(run.paused_by, 40)}", "limit"),
        h("span.crumb", line(run.title, 120)),
        h("span.spent", _spent(run)),
    ]
    ways = _ways(selection) if selection is not None else []
    return h(
        "header.top",
        h("div.where", *where, _help()),
        h("div.bar", h("nav.tabs", *tabs, label="Views"), h("span.grow"), *ways),
    )


def _view(place: Place, run: RunState, name: str) -> Place:
    """Another view of the run, with the same span selected where that view selects one."""
    if name == "run":
        return of_run(run.id, span=place.span, step=place.step)
    return of_run(run.id, name)


def _spent(run: RunState) -> str:
    cost = dollars(run.cost_usd) if run.cost_usd is not None or not run.model_calls else "price unknown"
    return joined([duration(elapsed_s(run)), cost, f"{count(run.tokens)} tokens", plural(run.model_calls, "call")])


def _ways(selection: Selection) -> list[Child]:
    """Where the keys lead: the whole run, the steps before and after, the failures before and after."""
    number = f"Step {selection.step:,} of {selection.steps:,}" if selection.step else plural(selection.steps, "step")
    failed = (
        f"failure {selection.failure:,} of {selection.failures:,}"
        if selection.failure
        else plural(selection.failures, "failure")
    )
    return [
        link("Whole run", selection.whole, "a.button.small.on" if selection.is_root else "a.button.small", keys="r"),
        _way("‹", selection.before, "k ArrowLeft", "previous step"),
        h("span.walk", number),
        _way("›", selection.after, "j ArrowRight", "next step"),
        *(
            [
                _way("‹", selection.last_failure, "E", "previous failure"),
                h("span.walk.tone-failed", failed),
                _way("›", selection.next_failure, "e", "next failure"),
            ]
            if selection.failures
            else [h("span.walk.muted", "no failure")]
        ),
    ]


def _way(text: str, place: Place | None, keys: str, label: str) -> Element:
    if place is None:
        return h("span.button.small.off", text)
    return link(text, place, "a.button.small", keys=keys, label=label, title=f"{label} ({keys.split(maxsplit=1)[0]})")


def _tab(text: str, place: Place, *, on: bool, keys: str = "") -> Element:
    return link(text, place, "a.tab.on" if on else "a.tab", keys=keys, current=on)


def _help() -> Element:
    rows = [h("div.key", h("kbd", key), h("span", what)) for key, what in KEYS]
    return h("details.help", h("summary", "Keys"), h("div.help-box", *rows), id="keys", keys="?")
