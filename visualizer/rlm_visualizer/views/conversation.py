"""What a model call was sent, as a conversation with what is new in it marked, and what the model answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rlm.trajectory.conversation import FIRST, cuts, sent_to
from rlm_visualizer.elements import badge, h, link
from rlm_visualizer.formats import dollars, joined, line, plural, shown
from rlm_visualizer.source import index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.events import ModelEnd, ModelRetry
    from rlm.core.types import ToolCall
    from rlm.trajectory.conversation import Said, Sent
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element

TEXT_CHARS = 6_000
"""The most characters of one message on a page."""
_OLDER_SHOWN = 4
"""So many messages of before are shown one by one; more are folded, so that the new ones are seen."""


def what_it_saw(place: Place, run: RunState, call: SpanState) -> Element:
    """The whole input of a model call: each message closed but those that are new, many older ones folded into one line
    and page by page.
    """
    sent = sent_to(index(), run.id, call, place.saw)
    many = joined(
        [plural(sent.total, "message"), f"{sent.new:,} new since the call before" if sent.total > sent.new else ""]
    )
    first, rest = sent.messages[:FIRST], sent.messages[FIRST:]
    return h(
        "div.card.flush.saw",
        h("div.card-head", h("h3", "What the model saw"), h("span.muted", many), h("span.grow"), *_pages(place, sent)),
        *(h("div.remark.tone-warning", note) for note in sent.notes),
        *(_message(call, said) for said in first),
        _gap(first, rest),
        *_rest(call, rest),
    )


def reply(call: SpanState, end: ModelEnd | None, retries: Sequence[ModelRetry], *, alone: bool) -> Element:
    """What the model answered: reasoning, text, tool calls; usage and why it stopped."""
    head: list[Child] = [h("h3", "Reply"), h("span.kind-model.chip", line(call.model, 60) or "model")]
    if call.name != "turn":
        head.append(badge(line(call.name, 30), "limit" if call.name == "landing" else "quiet"))
    parts: list[Child] = [
        h("div.remark.tone-warning", f"attempt {each.attempt} failed: {line(each.error, 200)}") for each in retries
    ]
    if end is None:
        parts.append(h("div.muted", "no answer yet" if call.status == "open" else "the record doesn't have its end"))
    else:
        head.append(h("span.muted", _spent(end)))
        parts += [h("div.remark.tone-failed", line(end.error, 600))] if end.error else []
        parts += [h("div.label", "Reasoning"), h("pre.prose.muted", shown(end.reasoning))] if end.reasoning else []
        parts += [h("pre.prose", shown(end.text))] if end.text else []
        parts += [_tool_call(each, closed=not alone) for each in end.tool_calls]
        if not (end.text or end.tool_calls or end.error):
            parts.append(
                h("div.muted", "the reply is with an earlier call of this run" if end.same_as else "it said nothing")
            )
    tone = ".tone-failed.edge" if end is not None and end.error else ""
    return h(f"div.card.said{tone}", h("div.card-head", *head), *parts)


def _pages(place: Place, sent: Sent) -> Iterator[Element]:
    if sent.pages > 1:
        older = place.to(saw=place.saw + 1, page=place.page) if place.saw + 1 < sent.pages else None
        newer = place.to(saw=place.saw - 1, page=place.page) if place.saw else None
        for text, where in (("older", older), ("newer", newer)):
            yield link(text, where, "a.button.small") if where else h("span.button.small.off", text)


def _rest(call: SpanState, rest: Sequence[Said]) -> list[Element]:
    """The messages after the first two; older ones in one fold where there are many and new ones after them."""
    older = [_message(call, said) for said in rest if not said.is_new]
    newer = [_message(call, said) for said in rest if said.is_new]
    if len(older) <= _OLDER_SHOWN or not newer:
        return [*older, *newer]
    numbers = f"{rest[0].number:,} to {rest[len(older) - 1].number:,}"
    summary = h("summary", h("span.call-asked", f"{plural(len(older), 'message')} of before: {numbers}"))
    return [h("details.sub-call.message", summary, *older, id=f"said-{call.id}-older"), *newer]


def _gap(first: Sequence[Said], rest: Sequence[Said]) -> Element | None:
    left = rest[0].number - first[-1].number - 1 if first and rest else 0
    return h("div.gap", f"{plural(left, 'message')} between: older") if left > 0 else None


def _message(call: SpanState, said: Said) -> Element:
    is_open = said.is_new and said.role not in ("assistant", "system")
    images = "".join(f"\n[image: {each.media_type}, {each.size_bytes:,} bytes]" for each in said.images)
    cut = any(is_cut for _, is_cut in cuts(said.text[: TEXT_CHARS * 4]))
    summary = h(
        "summary",
        h("span.mono.dim", str(said.number)),
        h(f"span.chip.role-{said.role}", line(said.label, 60)),
        h("span.flag.tone-running", "new") if said.is_new else None,
        h("span.flag.tone-limit", "cut") if cut else None,
        h("span.call-asked", line(said.text or _names(said.tool_calls), 110)),
        h("span.muted.nowrap", f"{len(said.text):,} characters"),
    )
    body = h(
        "div.message-body",
        h("pre.prose.muted", shown(said.reasoning, TEXT_CHARS)) if said.reasoning else None,
        h("pre.prose", *_text(said.text + images)) if said.text or images else None,
        *(_tool_call(each, closed=False) for each in said.tool_calls),
    )
    return h("details.sub-call.message", summary, body, id=f"said-{call.id}-{said.number}", open=is_open)


def _text(text: str) -> list[Child]:
    """A message, with the marks in it that say that something was cut."""
    if len(text) > TEXT_CHARS:
        return [shown(text, TEXT_CHARS)]
    return [h("b.cut", shown(piece)) if is_cut else shown(piece) for piece, is_cut in cuts(text)]


def _names(calls: Sequence[ToolCall]) -> str:
    return ", ".join(f"{call.name}({call.arguments[:80]})" for call in calls)


def _tool_call(call: ToolCall, *, closed: bool) -> Element:
    text = _arguments(call)
    head = h("summary", h("span.chip.kind-tool", line(call.name, 60)), h("span.call-asked", line(text, 110)))
    return h("details.tool-call", head, h("pre.prose.code", shown(text, TEXT_CHARS)), open=not closed)


def _arguments(call: ToolCall) -> str:
    """The arguments of a call: the code of a cell as it is, anything else as the model wrote it."""
    try:
        given = json.loads(call.arguments)
    except ValueError:
        return call.arguments
    if isinstance(given, dict) and list(given) == ["code"] and isinstance(given["code"], str):
        return given["code"]
    return call.arguments


def _spent(end: ModelEnd) -> str:
    usage = end.usage
    billed = usage.input_tokens + usage.output_tokens > 0
    cost = (
        "from memory" if end.cached else dollars(end.cost_usd) if end.cost_usd is not None else "price unknown" * billed
    )
    cached = f"{usage.cached_tokens:,} of them cached" if usage.cached_tokens else ""
    finish = f"finish: {line(end.finish, 20)}"
    return joined([f"{usage.input_tokens:,} in", cached, f"{usage.output_tokens:,} out", cost, finish])
