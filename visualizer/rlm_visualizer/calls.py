"""The sub-calls of a cell as a list: prompt and reply of each, a page at a time, and links to the steps of children."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rlm.core.events import CompletionEnd, CompletionStart, ModelEnd, ModelStart, ToolEnd, ToolStart
from rlm_visualizer.addresses import of_run
from rlm_visualizer.elements import h, link
from rlm_visualizer.formats import count, dollars, duration, joined, line, shown
from rlm_visualizer.source import CALLS_SHOWN, index, whole

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
        found = index().spans(run.id, parent.id, offset=offset, limit=CALLS_SHOWN)
        rows, total = found.rows, found.total
    rows = rows or ()
    texts = whole(run.id, rows, _TYPES)
    last = offset + len(rows)
    head = h(
        "div.card-head",
        h("h3", title),
        h("span.muted", f"{offset + 1:,}–{last:,} of {total:,}" if total else ""),
        h("span.grow"),
        *_pages(place, offset, total),
    )
    return h("div.card.flush", head, *(_call(run, row, texts.get(row.id, []), place) for row in rows))


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
    asked, answered = _asked(events), _answered(events)
    took = duration(max((row.ended_at or run.last_at) - row.started_at, 0.0))
    spent = f"{count(row.total_tokens)} tokens · {dollars(row.total_cost_usd)}" if row.total_calls else ""
    summary = h(
        "summary",
        h(f"span.chip.kind-{row.kind}", line(row.name, 40)),
        h("span.call-asked", line(asked or row.head, 110)),
        h("span.flag.tone-failed", line(row.detail, 40) or "failed") if row.status == "error" else None,
        h("span.flag.tone-quiet", "from the record" if row.served else "from memory") if row.cached else None,
        h("span.muted.nowrap", joined([took, spent])),
    )
    inside = (
        link("its steps →", of_run(run.id, "steps", span=row.id), "a.button.small")
        if row.kind == "completion"
        else None
    )
    body = h("div.call-body", _text("Prompt", asked), _text("Reply", answered), inside)
    return h("details.sub-call", summary, body, id=f"call-{row.id}", open=row.id == place.span)


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
