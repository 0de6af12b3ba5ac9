"""The overview of a run: its prompt, its answer, what it used, and the tree of its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from rlm_visualizer.addresses import of_run
from rlm_visualizer.elements import facts, h, link
from rlm_visualizer.formats import count, dollars, duration, joined, line, plural, shown, size
from rlm_visualizer.mounting import show
from rlm_visualizer.source import bodies, index
from rlm_visualizer.tree import Unfolded, call_tree

if TYPE_CHECKING:
    from rlm.trajectory.states import RunState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element

PROBLEMS_SHOWN = 6
_WHOLE_TEXTS = ("completion.start", "completion.end")


def page(place: Place, run: RunState) -> None:  # noqa: ARG001 - every view of a run is called alike
    """The overview; what is unfolded in the tree is kept while the page is open."""
    unfolded: Unfolded = st.session_state.setdefault(f"unfolded-{run.id}", Unfolded())
    prompt, answer = _texts(run)
    parts = [figures(run), _ask(prompt, answer, run), problems(run), call_tree(index(), run, unfolded)]
    show(h("section.overview", *parts), "overview", unfolded.take)


def _texts(run: RunState) -> tuple[str, str]:
    """The whole prompt and answer; from the index if the record can't be read."""
    roots = index().spans(run.id, limit=1).rows
    found = {event.type: event.body for event in bodies(run.id, roots[0].id, _WHOLE_TEXTS)} if roots else {}
    prompt = getattr(found.get("completion.start"), "prompt", run.prompt)
    return prompt, getattr(found.get("completion.end"), "response", run.response)


def figures(run: RunState) -> Element:
    """The key figures."""
    cached = f"{count(run.input_tokens)} in, {count(run.output_tokens)} out"
    return facts(
        (
            ("Time", duration(run.duration_s), line(run.environment, 40)),
            ("Cost", dollars(run.cost_usd), _of_cap(run, "cost_budget_usd", run.cost_usd, run.served_cost_usd)),
            (
                "Tokens",
                count(run.tokens),
                joined([cached, _of_cap(run, "token_budget", run.tokens, run.served_tokens)]),
            ),
            ("Turns", str(run.turns), plural(run.cells, "cell")),
            ("Model calls", count(run.model_calls), plural(run.subcalls, "sub-call")),
            ("Depth", str(run.depth), plural(run.tool_calls, "tool call")),
            ("Events", count(run.events), size(run.size_bytes)),
        )
    )


def _of_cap(run: RunState, name: str, used: float | None, served: float | None) -> str:
    """The share of a cap that is spent, including what an earlier run paid."""
    cap = run.budget.get(name)
    if used is None or not isinstance(cap, int | float) or not cap > 0:
        return ""
    return f"{(used + (served or 0)) / cap:.0%} of cap"


def origin(run: RunState) -> Element | None:
    """Which run this one goes on with, and what it took from that run's record; None if it began by itself."""
    if not run.origin():
        return None
    earlier = of_run((run.forked_from or run.resumed_from or "")[:32])
    return h(
        "div.remark.tone-quiet",
        link(line(run.origin(), 40), earlier, "a.button.small"),
        f" From its record: {spent_before(run)}. They count against the caps, and not in the figures above.",
    )


def spent_before(run: RunState) -> str:
    """What the run that this one resumes or forks had paid, in words."""
    parts = [plural(run.served_calls, "model call"), f"{count(run.served_tokens)} tokens"]
    return ", ".join([*parts, dollars(run.served_cost_usd)] if run.served_cost_usd is not None else parts)


def _ask(prompt: str, answer: str, run: RunState) -> Element:
    return h(
        "div.two",
        h("div.card", h("h3", "Prompt"), origin(run), h("pre.prose", shown(prompt))),
        h(f"div.card.tone-{run.status}.edge", h("h3", "Answer"), *_outcome(answer, run)),
    )


def _outcome(answer: str, run: RunState) -> list[Child]:
    parts: list[Child] = []
    if run.limit:
        parts.append(h("div.remark.tone-limit", f"reached {line(run.limit, 60)}"))
    if run.error:
        parts.append(h("div.remark.tone-failed", line(run.error, 600)))
    if run.status == "crashed":
        parts.append(h("div.remark.tone-crashed", "cut off: its process ended before the run did"))
    if answer:
        parts.append(h("pre.prose", shown(answer)))
    return parts or [h("div.muted", "not yet" if run.status == "running" else "none")]


def problems(run: RunState) -> Element | None:
    """Errors and warnings, each a link to its step, and what in the record could not be read."""
    found = index().problems(run.id, limit=PROBLEMS_SHOWN)
    rows: list[Child] = [
        h(
            f"a.problem.tone-{each.severity}",
            h("span.tag", each.severity),
            h("span.mono.dim", each.type),
            h("span.problem-text", line(each.message, 220)),
            go=of_run(run.id, "steps", span=each.span),
        )
        for each in found.rows
    ]
    if found.total > len(found.rows):
        rows.append(h("div.muted", f"and {found.total - len(found.rows):,} more: in the steps, e leads to the next"))
    if run.skipped_lines or run.torn_bytes:
        rows.append(h("div.problem.tone-warning", h("span.tag", "record"), h("span.problem-text", _damage(run))))
    return h("div.card.flush", h("h3", "Problems"), h("div.problems", *rows)) if rows else None


def _damage(run: RunState) -> str:
    skipped = plural(run.skipped_lines, "line is not an event", "lines are not events")
    lines = f"{skipped} and skipped" if run.skipped_lines else ""
    return joined([lines, f"the last line is unfinished ({size(run.torn_bytes)})" if run.torn_bytes else ""])
