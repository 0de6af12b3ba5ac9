"""The records that the pages show: one index of one folder, kept for as long as the app runs.

Every view gets its rows here. What can't be read is a `ConfigError`, which the page shows as a notice.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import streamlit as st

from rlm.trajectory.index.folder import Index
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.core.events import Event
    from rlm.trajectory.index.rows import EventRow, Rank
    from rlm.trajectory.states import RunState, SpanState

TURN, CELL = ("turn",), ("exec",)
CALLS_SHOWN = 12
"""How many sub-calls of a step one page shows."""


def log_dir() -> Path:
    """The folder that the app was started for: its one argument."""
    return log_folder(sys.argv[1] if len(sys.argv) > 1 else None).absolute()


@st.cache_resource(show_spinner=False)
def index_of(folder: Path) -> Index:
    """The index of a folder, opened once and shared by all pages.

    Raises:
        ConfigError: the folder can't be read.
    """
    return Index.open(folder)


def index() -> Index:
    """The index of the app's folder."""
    return index_of(log_dir())


def elapsed_s(run: RunState) -> float:
    """How long a run took, or has taken up to now."""
    return max(time.time() - run.started_at, 0.0) if run.status == "running" else run.duration_s


def took_s(run: RunState, span: SpanState) -> float:
    """How long a span took, or has taken up to now; one that never ended, up to the run's last event."""
    last = time.time() if run.status == "running" else run.last_at
    return max((last if span.ended_at is None else span.ended_at) - span.started_at, 0.0)


def step_kinds(run: RunState) -> tuple[str, ...]:
    """The kinds of spans that are the steps of a run: turns; where there are none, cells."""
    return TURN if run.turns else CELL


def step_rank(run: RunState, span: SpanState | None) -> Rank:
    """Which step a span belongs to, as its place from 1 among all; place 0 if it belongs to none.

    A child belongs to its first step, anything else to the innermost step that it is in.
    """
    kinds = step_kinds(run)
    step = None if span is None or span.parent is None else _step_of(run, span)
    return index().rank_of_kind(run.id, -1 if step is None else step.number, kinds)


def _step_of(run: RunState, span: SpanState) -> SpanState | None:
    first = index().spans(run.id, span.id, kind="turn", limit=1).rows if span.kind == "completion" else ()
    kinds = step_kinds(run)
    above = [span] if span.kind in kinds else reversed(index().path(run.id, span.id))
    return next(iter(first), None) or next((each for each in above if each.kind in kinds), None)


def step_at(run: RunState, step: int) -> SpanState | None:
    """The span that is step number `step`, from 1."""
    rows = index().steps(run.id, kinds=step_kinds(run), offset=step - 1, limit=1).rows if step > 0 else ()
    return rows[0] if rows else None


def bodies(run_id: str, span: str, types: Iterable[str] = (), limit: int = 200) -> list[Event]:
    """The events of one span, whole, in order; at most `limit` of them."""
    return list(index().read(run_id, _places(run_id, span, types, limit)))


def whole(run_id: str, rows: Iterable[SpanState], types: Iterable[str] = ()) -> dict[str, list[Event]]:
    """The events of several spans, by the id of the span, read in one pass."""
    places = [place for row in rows for place in _places(run_id, row.id, types, 50)]
    found: dict[str, list[Event]] = {}
    for event in index().read(run_id, places):
        found.setdefault(event.span, []).append(event)
    return found


def _places(run_id: str, span: str, types: Iterable[str], limit: int) -> list[EventRow]:
    return index().events(run_id, span, types=tuple(types), limit=limit)
