"""A batch, where the folder has the runs of one: what became of its questions, those without an answer first."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import streamlit as st

from rlm.trajectory.batches import JOURNAL, asked_for, last_entries
from rlm_visualizer.addresses import Place, of_run
from rlm_visualizer.elements import badge, facts, h, link, notice, pager, table
from rlm_visualizer.formats import count, dollars, duration, joined, line, moment, plural
from rlm_visualizer.mounting import errors_shown, here, show
from rlm_visualizer.source import log_dir

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.trajectory.batches import BatchAsked, Entry
    from rlm_visualizer.elements import Child, Element

PAGE = 50
FOLLOW_S = 2.0
REASONS = 5
_HEADS = ("State", "Question", "Time", "Tokens", "Cost")
_TONES = {"refused": "failed"}


def is_here() -> bool:
    """Whether the folder has the runs of a batch."""
    return asked_for(log_dir()) is not None


def page(place: Place) -> None:
    """What became of the questions, as the batch goes on."""
    st.fragment(_live, run_every=FOLLOW_S)(place)


def _live(place: Place) -> None:
    if here() != place:  # a click led elsewhere: the whole page is drawn again
        st.rerun()
    with errors_shown():
        found = asked_for(log_dir())
        if found is None:
            show(
                notice(f"{log_dir()} has no runs of a batch", "rlm visualize --dir OUT/runs shows those of one"),
                "batch",
            )
        else:
            show(_batch(place, found[1], _entries(found[0] / JOURNAL)), "batch")


def _entries(journal: Path) -> tuple[Entry, ...]:
    if not journal.exists():
        return ()
    about = journal.stat()
    return _read(journal, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(journal: Path, _size: int, _changed: int) -> tuple[Entry, ...]:
    """The questions that have ended, those without an answer first; read anew once the file has changed."""
    return tuple(sorted(last_entries(journal), key=lambda entry: entry.is_completed))


def _batch(place: Place, asked: BatchAsked, entries: tuple[Entry, ...]) -> Element:
    completed = sum(entry.is_completed for entry in entries)
    costs = [entry.cost_usd for entry in entries]
    elapsed_s = max((entry.elapsed_s for entry in entries), default=0.0)
    rate = f"{len(entries) / elapsed_s:,.1f} a second" if elapsed_s else ""
    tiles = [
        ("Questions", f"{len(entries):,} of {asked.count:,}", moment(asked.created_at)),
        ("Answered", f"{completed:,}", f"{len(entries) - completed:,} without an answer"),
        ("Cost", "price unknown" if None in costs else dollars(sum(filter(None, costs))), line(asked.model or "", 40)),
        ("Tokens", count(sum(entry.tokens for entry in entries)), ""),
        ("Time", duration(elapsed_s), rate),
    ]
    rows = [_row(entry) for entry in entries[place.page * PAGE : (place.page + 1) * PAGE]]
    return h(
        "section.runs",
        h("h2", line(asked.prompt or asked.questions, 120)),
        h("div.sub", line(asked.questions, 160)),
        facts(tiles),
        *_reasons(entries),
        table([h("th.num" if name in _HEADS[2:] else "th", name) for name in _HEADS], rows),
        h("div.foot", h("span.muted", plural(len(entries), "question")), pager(place, len(entries), PAGE)),
    )


def _reasons(entries: tuple[Entry, ...]) -> list[Child]:
    """Why questions got no answer, equal reasons counted."""
    found = Counter(line(entry.reason, 160) for entry in entries if not entry.is_completed)
    return [h("div.remark.tone-failed", f"{number:,} × {reason}") for reason, number in found.most_common(REASONS)]


def _row(entry: Entry) -> Element:
    said = entry.answer if entry.is_completed else entry.reason
    name = line(entry.id, 80)
    title: Child = link(name, of_run(entry.run), "a.title") if entry.run else h("span.title", name)
    cells = [
        h("td", badge(entry.status, _TONES.get(entry.status, ""))),
        h("td.main", title, h("div.sub", joined([line(said, 200)]))),
        h("td.num", duration(entry.duration_s)),
        h("td.num", count(entry.tokens)),
        h("td.num", dollars(entry.cost_usd)),
    ]
    return h("tr", *cells, go=of_run(entry.run)) if entry.run else h("tr", *cells)
