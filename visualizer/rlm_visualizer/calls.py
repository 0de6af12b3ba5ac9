"""The sub-calls of a cell as a list: prompt and reply of each, a page at a time, and links to the steps of children."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rlm.core.events import CompletionEnd, CompletionStart, ModelEnd, ModelStart, ToolEnd, ToolStart
from rlm.trajectory.index.rows import SpanQuery
from rlm.trajectory.titles import fell_short, title_of
from rlm_visualizer.elements import h, link
from rlm_visualizer.formats import count, dollars, duration, joined, line, shown
from rlm_visualizer.selection import at_span
from rlm_visualizer.source import CALLS_SHOWN, index, took_s, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.events import Event
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Element

TEXT_CHARS = 4_000
"""The most characters of a prompt or a reply in the list."""
_TYPES = ("model.start", "model.end", "tool.start", "tool.end", "completion.start", "completion.end")


def sub_calls(
    run: RunState, rows: Sequence[SpanState] | None, place: Place, title: str, parent: SpanState | None = None
) -> Element:
    """The calls in `parent`: the page of them that the address names, or `rows` if given."""
    offset, total = 0, len(rows or ())
    if rows is None and parent is not None:
        offset = place.page * CALLS_SHOWN
        order = "failed" if parent.kind == "exec" else "began"
        query = SpanQuery(parent=parent.number, order=order, offset=offset, limit=CALLS_SHOWN)  # type: ignore[arg-type]
        found = index().picked(run.id, query)
        rows, total = found.rows, found.total
    rows = rows or ()
    texts = whole(run.id, rows, _TYPES)
    last = offset + len(rows)
    head = h(
        "div.card-head",
        h("h3", title),
        h("span.muted", joined([f"{offset + 1:,}–{last:,} of {total:,}" if total else "", _failed(run, parent)])),
        h("span.grow"),
        *_pages(place, offset, total),
    )
    return h("div.card.flush", head, *(_call(run, row, texts.get(row.id, []), place) for row in rows))


def _failed(run: RunState, parent: SpanState | None) -> str:
    """How many of the calls in a span failed, in words; those are listed first."""
    if parent is None or not parent.total_errors:
        return ""
    failed = index().picked(run.id, SpanQuery(parent=parent.number, status="error", limit=1)).total
    return f"{failed:,} failed" if failed else ""


def _pages(place: Place, offset: int, total: int) -> list[Element]:
    if total <= CALLS_SHOWN:
        return []
    page = offset // CALLS_SHOWN
    before = place.to(page=page - 1) if page else None
    after = place.to(page=page + 1) if offset + CALLS_SHOWN < total else None
    return [
        link(text, where, "a.button.small") if where else h("span.button.small.off", text)
        for text, where in (("‹", before), ("›", after))
    ]


def _call(run: RunState, row: SpanState, events: Sequence[Event], place: Place) -> Element:
    if row.kind == "turn":
        return _turn(run, row, place)
    asked, answered = _asked(events), _answered(events)
    took = duration(took_s(run, row))
    spent = f"{count(row.total_tokens)} tokens · {dollars(row.total_cost_usd)}" if row.total_calls else ""
    summary = h(
        "summary",
        h(f"span.chip.kind-{row.kind}", line(title_of(row), 40)),
        h("span.call-asked", line(asked or row.head, 110)),
        h("span.flag.tone-failed", line(row.detail, 40) or "failed") if row.status == "error" else None,
        h("span.flag.tone-limit", line(row.detail, 20)) if fell_short(row) else None,
        _below(row),
        h("span.flag.tone-quiet", "from the record" if row.served else "from memory") if row.cached else None,
        h("span.muted.nowrap", joined([took, spent])),
    )
    inside = link("Open it →", at_span(place, row), "a.button.small")
    body = h("div.call-body", _text("Prompt", asked), _text("Reply", answered), inside)
    return h("details.sub-call", summary, body, id=f"call-{row.id}", open=row.id == place.span)


def _turn(run: RunState, row: SpanState, place: Place) -> Element:
    cells = index().spans(run.id, row.id, kind="exec", limit=1).rows
    took = duration(took_s(run, row))
    return h(
        "a.hit",
        h("span.chip.kind-turn", title_of(row)),
        h("span.excerpt", line(cells[0].head if cells else "", 110)),
        _below(row),
        h("span.muted.nowrap", took),
        go=at_span(place, row),
    )


def _below(row: SpanState) -> Element | None:
    own = row.status == "error"
    return None if own or not row.total_errors else h("span.flag.tone-limit", f"{row.total_errors:,} failed in it")


def _text(title: str, text: str) -> Element:
    return h(
        "div",
        h("div.label", title),
        h("pre.prose", shown(text, TEXT_CHARS)) if text else h("div.muted", "not in the record"),
    )


def _asked(events: Sequence[Event]) -> str:
    for event in events:
        match event.body:
            case ModelStart() as start:
                images = "".join(f"\n[image: {each.media_type}, {each.size_bytes:,} bytes]" for each in start.images)
                return (start.prompt or "") + images
            case CompletionStart() as start:
                return start.prompt
            case ToolStart() as start:
                return _json(start.arguments)
    return ""


def _answered(events: Sequence[Event]) -> str:
    for event in events:
        match event.body:
            case ModelEnd() as end:
                return f"failed: {end.error}" if end.error else end.text
            case CompletionEnd() as end:
                return (
                    f"{end.status}: {end.error or end.limit}\n{end.response}"
                    if end.status != "completed"
                    else end.response
                )
            case ToolEnd() as end:
                return f"failed: {end.error}" if end.error else _json(end.result)
    return ""


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
