"""One step: a turn with what the model said, the cells it ran, what they printed, and their sub-calls.

Beside it the steps around it; the next, the previous and the next error are a key away, and each has an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from rlm.core.events import ExecEnd, ExecOutput, ExecStart, ModelEnd, ModelRetry
from rlm_visualizer.addresses import Place, of_run
from rlm_visualizer.calls import sub_calls
from rlm_visualizer.elements import badge, facts, h, link, notice
from rlm_visualizer.formats import count, dollars, duration, joined, line, plural, shown
from rlm_visualizer.mounting import show
from rlm_visualizer.source import TURN, bodies, first_error_after, index, innermost_turn, step_of, turn_at
from rlm_visualizer.tree import title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.events import Event
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.elements import Child, Element

AROUND = 12
"""How many steps the list has before and after the one that is shown."""
CELLS = 20
"""How many cells of a step are shown; a turn rarely has more than one."""
ERRORS = 300
"""How many errors are looked at to find one that is in another step."""


def page(place: Place, run: RunState) -> None:
    """The step that the address names: by number, by a span in it, or the first."""
    step = place.step or (step_of(run.id, place.span) if place.span else 1)
    total = index().steps(run.id, kinds=TURN, limit=1).total
    turn = turn_at(run.id, step)
    alone = index().span(run.id, place.span) if turn is None and place.span else None
    if alone is not None:  # in no turn: a call for the landing, or what a damaged record has left
        show(h("section", _where(run, alone), sub_calls(run, [alone], place, title_of(alone))), "alone")
        return
    if turn is None:
        known = notice(f"This run has {plural(total, 'step')}", "A step appears when its turn begins.")
        show(
            h("section", known, link("first step", of_run(run.id, "steps", step=1), "a.button") if total else None),
            "no-step",
        )
        return
    beside, main = st.columns([1, 3.4], gap="medium")
    with beside:
        show(_list(run, step, total), "step-list")
    with main:
        _step(place, run, turn, step, total)


def _list(run: RunState, step: int, total: int) -> Element:
    """The list of the steps around this one."""
    first = max(1, min(step - AROUND, total - 2 * AROUND))
    rows = index().steps(run.id, kinds=TURN, offset=first - 1, limit=2 * AROUND + 1).rows
    return h("nav.steps", *(_item(run, row, first + place, step) for place, row in enumerate(rows)))


def _item(run: RunState, row: SpanState, number: int, step: int) -> Element:
    took = duration(max((row.ended_at or run.last_at) - row.started_at, 0.0))
    return h(
        "a.step.on" if number == step else "a.step",
        h(f"span.dot.is-{'error' if row.total_errors else row.status}"),
        h("span.step-number", str(number)),
        h("span.step-name", f"turn {row.ordinal}"),
        h("span.step-took", took),
        go=of_run(run.id, "steps", step=number),
        inset=min(row.depth, 6),
        title=f"depth {row.depth}",
    )


def _step(place: Place, run: RunState, turn: SpanState, step: int, total: int) -> None:
    inner = index().spans(run.id, turn.id, limit=CELLS * 3).rows
    models = [span for span in inner if span.kind == "model"]
    cells = [span for span in inner if span.kind == "exec"][:CELLS]
    said = {span.id: bodies(run.id, span.id) for span in models}
    head = [_ways(run, turn, step, total), _where(run, turn), _figures(run, turn)]
    show(h("section", *head, *(_model(span, said[span.id]) for span in models)), "step-head")
    for cell in cells:
        _cell(place, run, cell)
    tools = [span for span in inner if span.kind in ("tool", "other")]
    if tools:
        show(sub_calls(run, tools, place, "Tools"), "step-tools")


def _ways(run: RunState, turn: SpanState, step: int, total: int) -> Element:
    """The title of the step, and links to the steps before and after."""
    before = of_run(run.id, "steps", step=step - 1) if step > 1 else None
    after = of_run(run.id, "steps", step=step + 1) if step < total else None
    failed = next_error(run, turn)
    return h(
        "div.ways",
        h("h2", f"Step {step}", h("span.muted", f" of {total:,}")),
        h("span.grow"),
        _way("‹ Previous", before, "k ArrowLeft"),
        _way("Next ›", after, "j ArrowRight"),
        _way("Next error", failed, "e"),
    )


def _way(text: str, place: Place | None, keys: str) -> Element:
    return link(text, place, "a.button", keys=keys) if place else h("span.button.off", text)


def next_error(run: RunState, turn: SpanState) -> Place | None:
    """The place of the next error in another step, or of the run's first error; None if there is no such error."""
    if not run.errors:
        return None
    for offset in (first_error_after(run.id, turn.first_seq), 0):
        for each in index().problems(run.id, severity="error", offset=offset, limit=ERRORS).rows:
            path = index().path(run.id, each.span)
            if any(span.kind == "turn" for span in path) and innermost_turn(path) != turn.id:
                return of_run(run.id, "steps", span=each.span)
    return None


def _where(run: RunState, turn: SpanState) -> Element:
    """The completions that the step is in, from the root down."""
    above = [span for span in index().path(run.id, turn.id) if span.kind in ("completion", "turn")]
    names: list[Child] = []
    for span in above:
        name = (
            f"turn {span.ordinal}" if span.kind == "turn" else ("root" if span.parent is None else line(span.name, 40))
        )
        names += [h("span.sep", "›") if names else None, h("a.way", name, go=of_run(run.id, "steps", span=span.id))]
    task = next((span.head for span in reversed(above) if span.kind == "completion"), "")
    return h("div.path", *names, h("span.head", line(task, 140)))


def _figures(run: RunState, turn: SpanState) -> Element:
    took = duration(max((turn.ended_at or run.last_at) - turn.started_at, 0.0))
    return facts(
        (
            ("Began", f"+{duration(max(turn.started_at - run.started_at, 0.0))}", f"event {turn.first_seq:,}"),
            ("Time", took, "still going on" if turn.status == "open" and run.status == "running" else ""),
            ("Model calls", count(turn.total_calls), "with everything below"),
            ("Tokens", count(turn.total_tokens), ""),
            ("Cost", dollars(turn.total_cost_usd), ""),
        )
    )


def _model(span: SpanState, events: Sequence[Event]) -> Element:
    """What the model said; its code is shown in the cells."""
    end = next((event.body for event in events if isinstance(event.body, ModelEnd)), None)
    retries = [event.body for event in events if isinstance(event.body, ModelRetry)]
    head = [h("span.kind-model.chip", line(span.model, 60) or "model")]
    if span.name != "turn":
        head.append(badge(line(span.name, 30), "limit"))
    parts: list[Child] = [_retry(each) for each in retries]
    if end is None:
        parts.append(h("div.muted", "no answer yet" if span.status == "open" else "the record doesn't have its end"))
    else:
        head.append(h("span.muted", _spent(end)))
        parts += [h("div.remark.tone-failed", line(end.error, 600))] if end.error else []
        parts += [h("pre.prose.muted", shown(end.reasoning))] if end.reasoning else []
        parts += [h("pre.prose", shown(end.text))] if end.text else []
    return h("div.card.said", h("div.card-head", *head), *parts)


def _spent(end: ModelEnd) -> str:
    tokens = f"{end.usage.input_tokens:,} in · {end.usage.output_tokens:,} out"
    return joined([tokens, dollars(end.cost_usd), line(end.finish, 20), "from memory" if end.cached else ""])


def _retry(retry: ModelRetry) -> Element:
    return h("div.remark.tone-warning", f"attempt {retry.attempt} failed: {line(retry.error, 200)}")


def _cell(place: Place, run: RunState, span: SpanState) -> None:
    events = bodies(run.id, span.id)
    start = next((event.body for event in events if isinstance(event.body, ExecStart)), None)
    end = next((event.body for event in events if isinstance(event.body, ExecEnd)), None)
    show(_cell_head(span, end), f"cell-{span.number}")
    if start is not None:
        st.code(shown(start.code), language="python", line_numbers=True)
    output = "".join(event.body.text for event in events if isinstance(event.body, ExecOutput))
    if output:
        st.code(shown(output), language=None, wrap_lines=True)
    below = [*(_after(end) if end is not None else [])]
    calls = index().groups(run.id, span.id, limit=1).total and sub_calls(run, None, place, "Sub-calls", parent=span)
    if below or calls:
        show(h("section", *below, calls or None), f"after-{span.number}")


def _cell_head(span: SpanState, end: ExecEnd | None) -> Element:
    status = end.status if end is not None else "open"
    took = duration(end.duration_s) if end is not None else ""
    printed = f"{end.output_chars:,} characters printed" if end is not None and end.output_chars else ""
    return h(
        "div.cell-head",
        h("span.kind-exec.chip", f"cell {span.ordinal}"),
        badge(line(status, 20), "completed" if status == "ok" else "running" if status == "open" else "failed"),
        h("span.muted", joined([took, printed])),
        h("span.grow"),
        *(h("code.variable", line(name, 40)) for name in (end.changed[:16] if end is not None else ())),
    )


def _after(end: ExecEnd) -> list[Child]:
    """How a cell ended, where that is worth saying."""
    parts: list[Child] = []
    if end.error is not None:
        parts.append(
            h(
                "pre.prose.tone-failed.edge",
                shown(end.error.traceback or f"{end.error.kind}: {end.error.message}", 6_000),
            )
        )
    if end.state_reset:
        parts.append(
            h("div.remark.tone-warning", "the sandbox was killed: the next cell began with an empty namespace")
        )
    if end.final is not None:
        parts.append(h("div.card.tone-completed.edge", h("h3", "Final answer"), h("pre.prose", shown(end.final.text))))
    return parts
