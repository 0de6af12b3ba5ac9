"""The whole run, as the detail of its root: what was asked, what came out, what went wrong, what it cost, what it was
given, and the commands that go on from it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rlm.core.events import CompletionStart, RunStart, SandboxReady
from rlm_visualizer.addresses import of_run
from rlm_visualizer.artifacts import saved_files
from rlm_visualizer.elements import facts, h, link
from rlm_visualizer.failures import grouped
from rlm_visualizer.formats import count, dollars, duration, joined, line, moment, plural, shown, size
from rlm_visualizer.mounting import show
from rlm_visualizer.selection import at_span
from rlm_visualizer.source import bodies, elapsed_s, index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.notes import ContextNote
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element
    from rlm_visualizer.failures import Failure

GROUPS = 12
SOURCES = 8
_TEXTS = ("run.start", "completion.start", "completion.end", "sandbox")


def whole_run(place: Place, run: RunState, root: SpanState) -> None:
    """Show the run as a whole."""
    found = {event.type: event.body for event in bodies(run.id, root.id, _TEXTS)}
    prompt = getattr(found.get("completion.start"), "prompt", run.prompt)
    if addition := getattr(found.get("run.start"), "addition", ""):
        prompt = f"{addition}\n\n(after: {prompt})"
    answer = getattr(found.get("completion.end"), "response", run.response)
    parts = [_ask(prompt, answer, run), failures(place, run), figures(run), _given(run, found), saved_files(run)]
    show(h("section.overview", *parts), "overview")


def figures(run: RunState) -> Element:
    """The key figures."""
    cached = f"{count(run.input_tokens)} in, {count(run.output_tokens)} out"
    cost = dollars(run.cost_usd) if run.cost_usd is not None or not run.model_calls else "price unknown"
    return facts(
        (
            ("Time", duration(elapsed_s(run)), line(run.environment, 40)),
            ("Cost", cost, _of_cap(run, "cost_budget_usd", run.cost_usd, run.served_cost_usd)),
            (
                "Tokens",
                count(run.tokens),
                joined([cached, _of_cap(run, "token_budget", run.tokens, run.served_tokens)]),
            ),
            ("Turns", str(run.turns), plural(run.cells, "cell")),
            ("Model calls", count(run.model_calls), plural(run.subcalls, "sub-call")),
            ("Depth", str(run.depth), plural(run.tool_calls, "tool call")),
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
        f" From its record: {spent_before(run)}. They count against the caps, and not in the figures here.",
    )


def spent_before(run: RunState) -> str:
    """What the run that this one resumes or forks had paid, in words."""
    parts = [plural(run.served_calls, "model call"), f"{count(run.served_tokens)} tokens"]
    return ", ".join([*parts, dollars(run.served_cost_usd)] if run.served_cost_usd is not None else parts)


def _ask(prompt: str, answer: str, run: RunState) -> Element:
    tone = "limit" if run.status == "completed" and run.errors else run.status
    return h(
        "div.two",
        h(
            "div.card",
            h("h3", "Session" if run.first_cell else "Prompt"),
            origin(run),
            h("pre.prose", shown(run.title if run.first_cell else prompt)),
        ),
        h(f"div.card.tone-{tone}.edge", h("h3", f"Answer ({run.status})"), *_outcome(answer, run)),
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
    nothing = "what came out is with its cells" if run.first_cell else "not yet" if run.status == "running" else "none"
    return parts or [h("div.muted", nothing)]


def failures(place: Place, run: RunState) -> Element | None:
    """What failed, equal failures together, before what was warned of; and what of the record can't be read."""
    found = grouped(run)
    rows: list[Child] = [_failure(place, each) for each in found[:GROUPS]]
    if len(found) > GROUPS:
        rows.append(h("div.muted", f"and {len(found) - GROUPS:,} kinds more: e leads from one failure to the next"))
    if run.skipped_lines or run.torn_bytes:
        rows.append(h("div.problem.tone-warning", h("span.tag", "record"), h("span.problem-text", _damage(run))))
    if not rows:
        return None
    many = joined(
        [plural(run.errors, "failure") if run.errors else "", plural(run.warnings, "warning") if run.warnings else ""]
    )
    head = h("div.card-head", h("h3", "What went wrong"), h("span.muted", many))
    return h("div.card.flush", head, h("div.problems", *rows))


def _failure(place: Place, failure: Failure) -> Element:
    return h(
        f"a.problem.tone-{failure.severity}",
        h("span.tag", f"{failure.count:,} ×" if failure.count > 1 else failure.severity),
        h("span.problem-text", h("b", line(failure.message, 200)), h("span.muted", failure.where)),
        go=at_span(place, failure.first) if failure.first is not None else None,
    )


def _damage(run: RunState) -> str:
    skipped = plural(run.skipped_lines, "line is not an event", "lines are not events")
    lines = f"{skipped} and skipped" if run.skipped_lines else ""
    return joined([lines, f"the last line is unfinished ({size(run.torn_bytes)})" if run.torn_bytes else ""])


def _given(run: RunState, found: dict[str, object]) -> Element:
    """What the run was given: models, context, settings; where its record is; and how to go on from it."""
    start, begun, sandbox = found.get("run.start"), found.get("completion.start"), found.get("sandbox")
    pairs: list[tuple[str, str]] = [
        ("Models", ", ".join(line(name, 60) for name in index().models(run.id) or [run.model])),
        ("Started", moment(run.started_at)),
        *(_context(begun.context) if isinstance(begun, CompletionStart) else ()),
        (
            "Sandbox",
            joined([line(run.environment, 40), ", ".join(sandbox.layers) if isinstance(sandbox, SandboxReady) else ""]),
        ),
        ("Record", str(index().trajectory(run.id).path)),
    ]
    settings = start.config if isinstance(start, RunStart) else {}
    return h(
        "div.card",
        h("h3", "This run"),
        h(
            "div.pairs",
            *(
                h("div.pair-row", h("span.label", name), h("span.value", line(said, 400)))
                for name, said in pairs
                if said
            ),
        ),
        h("div.commands", *(command(what, text) for what, text in commands(run))),
        _settings(settings, run) if settings or run.budget else None,
    )


def _context(note: ContextNote) -> Iterator[tuple[str, str]]:
    if note.kind == "none":
        yield "Context", "none"
        return
    parts = plural(note.parts, "part") if note.parts else ""
    yield (
        "Context",
        joined([note.kind, size(note.size_bytes), f"{note.chars:,} characters" if note.chars else "", parts]),
    )
    if note.sources:
        more = f" and {len(note.sources) - SOURCES:,} more" if len(note.sources) > SOURCES else ""
        yield "Read from", ", ".join(note.sources[:SOURCES]) + more


def commands(run: RunState) -> Iterator[tuple[str, str]]:
    """The commands that go on from a run, each with what it does."""
    record = shlex.quote(str(index().trajectory(run.id).path))
    if run.status not in ("completed", "running"):
        yield "go on with it", f"rlm resume {record}"
    turns = index().steps(run.id, kinds=("turn",), limit=1)
    if turns.rows:
        yield "another way from a turn", fork_command(run, 1)
    yield "run its cells again, at no cost", f"rlm replay {record}"
    yield "one page to attach to an issue", f"rlm logs export {record} --format html -o run.html"


def fork_command(run: RunState, turn: int) -> str:
    """The command that goes another way from the end of a turn of the root."""
    record = shlex.quote(str(index().trajectory(run.id).path))
    return f"rlm fork {record} --turn {turn} -p 'what to do instead'"


def command(what: str, text: str) -> Element:
    """A command and a button that copies it."""
    copy = h("button.button.small", "Copy", copy=text, label=f"Copy the command: {what}")
    return h("div.command", h("span.muted", what), h("code", line(text, 400)), copy)


def _settings(settings: dict[str, object], run: RunState) -> Element:
    given = [*run.budget.items(), *settings.items()]
    rows = [
        h(
            "div.pair-row",
            h("span.label", line(str(name), 40)),
            h("span.value", "none" if said is None else line(str(said), 200)),
        )
        for name, said in given
    ]
    return h(
        "details.more", h("summary", f"{plural(len(rows), 'setting')} and caps"), h("div.pairs", *rows), id="settings"
    )
