"""The records that the pages show: one index of one folder, kept for as long as the app runs.

Every view gets its rows here. What can't be read is a `ConfigError`, which the page shows as a notice.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from typing import TYPE_CHECKING

import streamlit as st

from rlm.trajectory.index.folder import Index
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.core.events import Event
    from rlm.trajectory.index.rows import EventRow
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


def step_kinds(run: RunState) -> tuple[str, ...]:
    """The kinds of spans that are the steps of a run: turns; where there are none, cells."""
    return TURN if run.turns else CELL


def step_number(run: RunState, span: SpanState) -> int:
    """The number, from 1, of the step that a span belongs to; 0 if it belongs to none.

    A child belongs to its first step, anything else to the innermost step that it is in.
    """
    kinds, path = step_kinds(run), index().path(run.id, span.id)
    step = next((each for each in reversed(path) if each.kind in kinds), None)
    if span.kind == "completion":
        step = (
            None if span.parent is None else next(iter(index().spans(run.id, span.id, kind="turn", limit=1).rows), step)
        )
    return 0 if step is None else _place_among_steps(run, step.number)


def first_error_after(run_id: str, seq: int) -> int:
    """The index, among the errors of a run, of the first one after the event `seq`."""
    total = index().problems(run_id, severity="error", limit=1).total
    return bisect_right(range(total), seq, key=lambda offset: _error_at(run_id, offset))


def _error_at(run_id: str, offset: int) -> int:
    rows = index().problems(run_id, severity="error", offset=offset, limit=1).rows
    return rows[0].seq if rows else 0


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


def _place_among_steps(run: RunState, number: int) -> int:
    """The place of a step among all, from 1: they are in the order of their numbers."""
    total = index().steps(run.id, kinds=step_kinds(run), limit=1).total
    return bisect_right(range(total), number, key=lambda offset: _step_span_number(run, offset))


def _step_span_number(run: RunState, offset: int) -> int:
    rows = index().steps(run.id, kinds=step_kinds(run), offset=offset, limit=1).rows
    return rows[0].number if rows else 0
