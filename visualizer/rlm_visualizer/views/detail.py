"""The detail of one span: what it was given, what came of it, what it cost, and its events as the record has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from rlm.core.events import CompletionEnd, CompletionStart, ExecEnd, ExecOutput, ExecStart, ModelEnd, ModelRetry, encode
from rlm.trajectory.titles import fell_short, title_of
from rlm_visualizer.calls import sub_calls
from rlm_visualizer.elements import badge, facts, h
from rlm_visualizer.formats import count, dollars, duration, joined, line, shown, size
from rlm_visualizer.mounting import show
from rlm_visualizer.selection import at_span
from rlm_visualizer.source import bodies, index, took_s
from rlm_visualizer.tree import state_of
from rlm_visualizer.views.conversation import reply, what_it_saw
from rlm_visualizer.views.whole_run import command, fork_command, whole_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.events import Event
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element

CELLS = 20
"""How many cells of a turn are shown; a turn rarely has more than one."""
RAW_EVENTS = 200
RAW_CHARS = 200_000
_TONES = {"error": "failed", "short": "limit", "open": "running", "cut": "crashed", "ok": "completed"}


def detail(place: Place, run: RunState, span: SpanState) -> None:
    """Show one span; the root stands for the whole run."""
    if span.kind == "completion" and span.parent is None:
        whole_run(place, run, span)
    else:
        show(h("section", _path(place, run, span), _head(run, span)), "head")
        match span.kind:
            case "completion":
                _child(place, run, span)
            case "turn":
                _turn(place, run, span)
                if not span.depth and span.status != "open":
                    show(h("section", command("another way from here", fork_command(run, span.ordinal))), "fork")
            case "model":
                _model(place, run, span, alone=True)
            case "exec":
                _cell(place, run, span)
                _asked_for(place, run, span)
            case _:
                show(sub_calls(run, [span], place, title_of(span)), "call")
    _raw(run, span)


def _path(place: Place, run: RunState, span: SpanState) -> Element:
    """The calls that a span is in, from the root down, each a link."""
    names: list[Child] = []
    for above in index().path(run.id, span.id)[:-1]:
        name = line(above.head, 40) if above.kind == "completion" and above.parent else title_of(above)
        names += [h("span.sep", "›") if names else None, h("a.way", line(name, 40), go=at_span(place, above))]
    return h("div.path", *names, label="Where it is")


def _head(run: RunState, span: SpanState) -> Element:
    state = state_of(span, run)
    words = {
        "error": "failed",
        "short": span.detail if fell_short(span) else f"{span.total_errors:,} failed in it",
        "open": "running",
        "cut": "never ended",
        "ok": "ok",
    }
    status = (
        span.detail if span.kind == "exec" and span.detail in ("timeout", "interrupted", "killed") else words[state]
    )
    below = "" if span.kind == "model" else "with all in it"
    title = line(span.head, 200) if span.kind == "completion" else title_of(span)
    return h(
        "section",
        h(
            "div.ways",
            h("h2", line(title, 200)),
            badge(line(status, 20), _TONES[state]),
            h("span.muted", line(span.model, 60)),
            h("span.muted", f"depth {span.depth}" if span.depth else ""),
        ),
        facts(
            (
                ("Began", f"+{duration(max(span.started_at - run.started_at, 0.0))}", f"event {span.first_seq:,}"),
                ("Time", duration(took_s(run, span)), "still going on" if state == "open" else ""),
                ("Cost", cost_of(span), ""),
                ("Tokens", count(span.total_tokens), ""),
                ("Model calls", count(span.total_calls), below),
            )
        ),
    )


def cost_of(span: SpanState) -> str:
    """What a span cost with everything below it; an unknown price is said."""
    if not span.total_calls:
        return "from the record" if span.served else "nothing paid"
    return "price unknown" if span.total_unpriced else dollars(span.total_cost_usd)


def _child(place: Place, run: RunState, span: SpanState) -> None:
    found = {event.type: event.body for event in bodies(run.id, span.id, ("completion.start", "completion.end"))}
    start, end = found.get("completion.start"), found.get("completion.end")
    parts: list[Child] = []
    if isinstance(start, CompletionStart):
        context = start.context
        about = f"{context.kind}, {size(context.size_bytes)}" if context.kind != "none" else "no context"
        parts.append(h("div.card", h("h3", "Prompt"), h("pre.prose", shown(start.prompt)), h("div.muted", about)))
    if isinstance(end, CompletionEnd):
        tone = (
            "completed"
            if end.status == "completed" and not span.total_errors
            else ("failed" if end.status == "failed" else "limit")
        )
        why = end.error or end.limit
        parts.append(
            h(
                f"div.card.tone-{tone}.edge",
                h("h3", f"Answer ({end.status})"),
                h(f"div.remark.tone-{tone}", line(why, 600)) if why else None,
                h("pre.prose", shown(end.response)) if end.response else h("div.muted", "none"),
            )
        )
    else:
        parts.append(h("div.card", h("h3", "Answer"), h("div.muted", "not yet, or not in the record")))
    show(h("section", *parts), "child")
    show(sub_calls(run, None, place, "Turns and calls", parent=span), "child-calls")


def _turn(place: Place, run: RunState, turn: SpanState) -> None:
    inner = index().spans(run.id, turn.id, limit=CELLS * 3).rows
    for call in (span for span in inner if span.kind == "model"):
        _model(place, run, call, alone=False)
    for cell in [span for span in inner if span.kind == "exec"][:CELLS]:
        _cell(place, run, cell)
    if tools := [span for span in inner if span.kind in ("tool", "other")]:
        show(sub_calls(run, tools, place, "Tools"), "tools")


def _model(place: Place, run: RunState, call: SpanState, *, alone: bool) -> None:
    """What the model saw, and what it said."""
    events = bodies(run.id, call.id)
    end = next((event.body for event in events if isinstance(event.body, ModelEnd)), None)
    retries = [event.body for event in events if isinstance(event.body, ModelRetry)]
    show(h("section", what_it_saw(place, run, call), reply(call, end, retries, alone=alone)), f"model-{call.number}")


def _cell(place: Place, run: RunState, span: SpanState) -> None:
    events = bodies(run.id, span.id)
    start = next((event.body for event in events if isinstance(event.body, ExecStart)), None)
    end = next((event.body for event in events if isinstance(event.body, ExecEnd)), None)
    errors = [] if end is None else _error(end)
    show(h("section", _cell_head(run, span, end), *errors), f"cell-{span.number}")
    if start is not None:
        st.code(shown(start.code), language="python", line_numbers=True)
    output = "".join(event.body.text for event in events if isinstance(event.body, ExecOutput))
    if output:
        show(h("pre.prose.code.output", shown(output)), f"output-{span.number}")
    below = (
        []
        if end is None or end.final is None
        else [h("div.card.tone-completed.edge", h("h3", "Final answer"), h("pre.prose", shown(end.final.text)))]
    )
    calls = index().groups(run.id, span.id, limit=1).total and sub_calls(run, None, place, "Sub-calls", parent=span)
    if below or calls:
        show(h("section", *below, calls or None), f"after-{span.number}")


def _asked_for(place: Place, run: RunState, cell: SpanState) -> None:
    """What the model saw just before it wrote a cell, and its reply; a cell of a session was written by no model."""
    turn = next((above for above in reversed(index().path(run.id, cell.id)) if above.kind == "turn"), None)
    if turn is not None:
        for call in index().spans(run.id, turn.id, kind="model", limit=CELLS).rows:
            _model(place, run, call, alone=False)


def _cell_head(run: RunState, span: SpanState, end: ExecEnd | None) -> Element:
    status = end.status if end is not None else "running" if run.status == "running" else "never ended"
    tone = "completed" if status == "ok" else "running" if status == "running" else "failed"
    printed = took = ""  # of one that runs still, its output below says it
    if end is not None:
        printed = f"{end.output_chars:,} characters printed" if end.output_chars else "printed nothing"
        took = duration(end.duration_s)
    return h(
        "div.cell-head",
        h("span.kind-exec.chip", f"cell {span.ordinal}"),
        badge(line({"timeout": "timed out"}.get(status, status), 20), tone),
        h("span.muted", joined([took, printed])),
        h("span.grow"),
        *(h("code.variable", line(name, 40)) for name in (end.changed[:16] if end is not None else ())),
    )


def _error(end: ExecEnd) -> list[Child]:
    """How a cell failed."""
    parts: list[Child] = []
    if end.status == "timeout":
        parts.append(h("div.remark.tone-failed", f"timed out after {duration(end.duration_s)}"))
    if end.error is not None:
        said = end.error.traceback or f"{end.error.kind}: {end.error.message}"
        parts.append(h("pre.prose.tone-failed.edge", shown(said, 6_000)))
    if end.state_reset:
        lost = "the sandbox was killed: the next cell began with an empty namespace"
        parts.append(h("div.remark.tone-warning", lost))
    return parts


def _raw(run: RunState, span: SpanState) -> None:
    """The events of a span as the record has them, to copy or to keep; they are read when they are asked for."""
    opened: set[str] = st.session_state.setdefault("raw", set())
    is_open = span.id in opened

    def act(said: str) -> None:
        opened.symmetric_difference_update({said})

    text = raw_text(bodies(run.id, span.id, limit=RAW_EVENTS)) if is_open else ""
    buttons = [h("button.button.small", "Copy", copy="pre"), h("button.button.small", "Download", save="pre")]
    ways = h(
        "div.ways",
        h("button.button.small", "Hide its events" if is_open else "Show its events as recorded", act=span.id),
        *(buttons if is_open else ()),
        h("span.muted", f"the first {RAW_EVENTS} of them at most") if is_open else None,
    )
    show(h("section.raw", ways, h("pre.prose.code", shown(text, RAW_CHARS)) if is_open else None), "raw", act)


def raw_text(events: Sequence[Event]) -> str:
    """Events as the record has them, each as JSON over several lines."""
    return "\n".join(json.dumps(json.loads(encode(event)), indent=1, ensure_ascii=False) for event in events)
