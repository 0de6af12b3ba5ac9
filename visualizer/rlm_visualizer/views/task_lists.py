"""Task lists: all of a folder, and one with what became of each task, what failed first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from rlm.core.exceptions import ConfigError
from rlm.trajectory.task_lists import find_list, list_records, past_of
from rlm_visualizer.addresses import Place, of_run
from rlm_visualizer.elements import badge, facts, h, link, notice, pager, table
from rlm_visualizer.formats import count, dollars, duration, joined, line, moment, plural, when
from rlm_visualizer.mounting import errors_shown, here, show
from rlm_visualizer.source import log_dir

if TYPE_CHECKING:
    from rlm.core.events import TaskEnd
    from rlm.trajectory.task_lists import ListPast
    from rlm_visualizer.elements import Child, Element

PAGE = 50
FOLLOW_S = 2.0
_ORDER = ("failed", "cancelled", "cut off", "running", "blocked", "skipped", "pending", "completed")
_TONES = {"skipped": "limit", "blocked": "limit", "pending": "limit", "cut off": "crashed"}
_LISTS = ("State", "List", "Started", "Tasks", "Cost")
_TASKS = ("State", "Task", "Time", "Tokens", "Cost", "Attempts")
_NUMBERS = ("Started", "Tasks", "Cost", "Time", "Tokens", "Attempts")


def page(place: Place) -> None:
    """The lists of the folder, or one of them, as they go on."""
    st.fragment(_live, run_every=FOLLOW_S)(place)


def _live(place: Place) -> None:
    if here() != place:  # a click led elsewhere: the whole page is drawn again
        st.rerun()
    with errors_shown():
        if place.tasks:
            show(one_list(place, past_of(find_list(log_dir(), place.tasks))), "tasks")
        else:
            show(all_lists(place, time.time()), "tasks")


def all_lists(place: Place, now: float) -> Element:
    """A row for each list, the one written last first."""
    records = list_records(log_dir())
    if not records:
        return notice(f"There are no task lists in {log_dir()}", "They appear here as they begin: rlm tasks run FILE")
    rows = []
    for record in records[place.page * PAGE : (place.page + 1) * PAGE]:
        try:
            rows.append(_list_row(past_of(record), now))
        except ConfigError as error:  # what stands there is no list, or has lost its beginning
            rows.append(h("tr", h("td", badge("crashed")), h("td.main", line(str(error), 160), colspan=4)))
    foot = h("div.foot", h("span.muted", plural(len(records), "list")), pager(place, len(records), PAGE))
    return h("section.runs", table(_heads(_LISTS), rows), foot)


def one_list(place: Place, past: ListPast) -> Element:
    """What became of a list, and of each of its tasks."""
    ends = [past.ended.get(name) for name in past.start.tasks]
    costs = [end.cost_usd for end in past.spent]
    known = sum(cost for cost in costs if cost is not None)
    cost = f"{dollars(known)} and what has no known price" if None in costs and known else dollars(known)
    cost = "price unknown" if None in costs and not known else cost
    tiles = [
        ("State", past.state, ""),
        ("Tasks", _counts(past), ""),
        ("Cost", cost, f"{count(sum(end.tokens for end in past.spent))} tokens"),
        ("Time", duration(past.end.duration_s) if past.end is not None else "", moment(past.started_at)),
    ]
    states = {name: _state(past, name, end) for name, end in zip(past.start.tasks, ends, strict=True)}
    names = sorted(states, key=lambda name: _ORDER.index(states[name]) if states[name] in _ORDER else 0)
    rows = [_task_row(past, name, states[name]) for name in names[place.page * PAGE : (place.page + 1) * PAGE]]
    again = "" if past.state == "completed" or not past.start.source else f"rlm tasks run {past.start.source} --resume"
    return h(
        "section.runs",
        h("h2", line(past.start.name or "task list", 120)),
        h("div.sub", joined([past.id[:8], line(past.start.source, 160)])),
        facts(tiles),
        h("p", "To go on: ", h("code", again)) if again else None,
        table(_heads(_TASKS), rows),
        h("div.foot", h("span.muted", plural(len(names), "task")), pager(place, len(names), PAGE)),
    )


def _list_row(past: ListPast, now: float) -> Element:
    place = Place(view="tasks", tasks=past.id)
    title = line(past.start.name or past.start.source or "task list", 110)
    costs = [end.cost_usd for end in past.spent]
    return h(
        "tr",
        h("td", _badge(past.state)),
        h(
            "td.main",
            link(title, place, "a.title"),
            h("div.sub", joined([past.id[:8], line(past.start.source, 120)])),
        ),
        h("td.num.dim", when(past.started_at, now)),
        h("td.num", _counts(past)),
        h("td.num", dollars(None if None in costs else sum(filter(None, costs)))),
        go=place,
    )


def _task_row(past: ListPast, name: str, state: str) -> Element:
    end, begun = past.ended.get(name), past.begun.get(name)
    run = end.run if end is not None else begun.run if begun is not None else ""
    title: Child = link(line(name, 80), of_run(run), "a.title") if run else h("span.title", line(name, 80))
    cells: list[Child] = [h("td", _badge(state)), h("td.main", title, *_said(end))]
    if end is None or not end.attempts:
        cells += [h("td.num", "") for _ in _TASKS[2:]]
    else:
        cells += [
            h("td.num", duration(end.duration_s)),
            h("td.num", count(end.tokens)),
            h("td.num", dollars(end.cost_usd)),
            h("td.num", f"{end.attempts:,}"),
        ]
    return h("tr", *cells, go=of_run(run)) if run else h("tr", *cells)


def _said(end: TaskEnd | None) -> list[Child]:
    """The answer of a task or why there is none, what was thought of it, and what it left."""
    if end is None:
        return []
    said = end.response if end.state == "completed" else end.error or ""
    verdict = "" if end.is_valid is None else f"{'valid' if end.is_valid else 'not valid'}: {line(end.verdict, 120)}"
    files = [*end.created, *end.modified, *end.files]
    left = f"files: {line(', '.join(files), 160)}" if files else ""
    return [h("div.sub", text) for text in (line(said, 200), verdict, left) if text]


def _state(past: ListPast, name: str, end: TaskEnd | None) -> str:
    if name in past.begun:
        return "running" if past.is_running else "cut off"
    return "pending" if end is None else end.state


def _counts(past: ListPast) -> str:
    completed = sum(end.state == "completed" for end in past.ended.values())
    failed = sum(end.state == "failed" for end in past.ended.values())
    return joined([f"{completed:,} of {len(past.start.tasks):,} completed", f"{failed:,} failed" if failed else ""])


def _badge(state: str) -> Element:
    return badge(state, _TONES.get(state, ""))


def _heads(names: tuple[str, ...]) -> list[Element]:
    return [h("th.num" if name in _NUMBERS else "th", name) for name in names]
