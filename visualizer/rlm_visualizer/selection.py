"""What an address selects in a run: one span, its step, and the ways to the next step and the next failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm_visualizer.addresses import Place
from rlm_visualizer.source import index, step_at, step_kinds, step_rank

if TYPE_CHECKING:
    from rlm.trajectory.states import RunState, SpanState


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One span of a run, and where the keys lead from it."""

    span: SpanState | None
    """None where the run has no span yet."""
    step: int
    """The number of the step that the span is in, from 1; 0 for a span that is in none."""
    steps: int
    failure: int
    """The number, from 1, of the failure that is selected; 0 where none is."""
    failures: int
    whole: Place
    """Where the run as a whole is."""
    before: Place | None
    after: Place | None
    next_failure: Place | None
    last_failure: Place | None

    @property
    def is_root(self) -> bool:
        return self.span is None or (self.span.kind == "completion" and self.span.parent is None)


def select(place: Place, run: RunState) -> Selection:
    """The selection of an address; a run in progress of which none is named is followed: its newest step."""
    span = _span(place, run)
    rank = step_rank(run, span)
    step, steps = rank.place, rank.total
    failures = run.errors
    failure = _failure(run, span)
    following = failure or index().errors_up_to(run.id, -1 if span is None else span.first_seq)
    earlier = failure - 2 if failure else following - 1
    return Selection(
        span=span,
        step=step,
        steps=steps,
        failure=failure,
        failures=failures,
        whole=_to_whole(place, run),
        before=_to_step(place, run, step - 1) if step > 1 else _to_whole(place, run) if step else None,
        after=_to_step(place, run, step + 1) if step < steps else None,
        next_failure=_to_failure(place, run, following % failures) if failures else None,
        last_failure=_to_failure(place, run, earlier % failures) if failures else None,
    )


def at_span(place: Place, span: SpanState) -> Place:
    """The same view with another span selected."""
    if place.view == "timeline":
        return place.to(at=span.number + 1, span="", step=0, saw=0)
    return Place(run=place.run, span=span.id, pick=place.pick, kind=place.kind, model=place.model)


def _span(place: Place, run: RunState) -> SpanState | None:
    if place.view == "timeline" and place.at:
        return next(iter(index().all_spans(run.id, offset=place.at - 1, limit=1).rows), None)
    if place.span and (named := index().span(run.id, place.span)) is not None:
        return named
    number = place.step
    if not number and run.status == "running":
        number = index().steps(run.id, kinds=step_kinds(run), limit=1).total
    return step_at(run, number) or next(iter(index().spans(run.id, limit=1).rows), None)


def _to_whole(place: Place, run: RunState) -> Place:
    """The same view with the root selected: by name while the run goes on, for else its newest step is followed."""
    kept = Place(run=place.run, view=place.view, pick=place.pick, kind=place.kind, model=place.model)
    roots = index().spans(run.id, limit=1).rows if run.status == "running" else ()
    return at_span(place, roots[0]) if roots else kept


def _to_step(place: Place, run: RunState, number: int) -> Place:
    """The same view with a step selected."""
    if place.view == "timeline" and (span := step_at(run, number)) is not None:
        return at_span(place, span)
    kept = Place(run=place.run, view=place.view, pick=place.pick, kind=place.kind, model=place.model)
    return kept.to(step=number)


def _failure(run: RunState, span: SpanState | None) -> int:
    """The number of the failure that a span is, from 1; 0 if it isn't one."""
    if span is None or span.status != "error":
        return 0
    place = index().errors_up_to(run.id, span.first_seq - 1)
    for number, each in enumerate(index().problems(run.id, severity="error", offset=place, limit=300).rows, place + 1):
        if each.span == span.id:
            return number
    return 0


def _to_failure(place: Place, run: RunState, number: int) -> Place | None:
    for each in index().problems(run.id, severity="error", offset=number, limit=1).rows:
        span = index().span(run.id, each.span)
        return None if span is None else at_span(place, span)
    return None
