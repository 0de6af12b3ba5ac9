"""Folds the events of one file into the index's states of its run and of its spans, in one pass over heads.

Totals over the tree are added up once per batch, by `settle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from rlm.trajectory.index.bodies import (
    CompletionEndPart,
    CompletionStartPart,
    ExecEndPart,
    ModelEndPart,
    ModelStartPart,
    NoticePart,
    NumberedPart,
    RunStartPart,
    ToolEndPart,
    ToolStartPart,
)
from rlm.trajectory.index.states import (
    ERROR,
    HEAD_CHARS,
    MESSAGE_CHARS,
    NAME_CHARS,
    OK,
    TEXT_CHARS,
    Delta,
    SpanState,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.types import Json
    from rlm.trajectory.index.states import Head, RunState


class RunFold:
    """The states of one run while its events are taken in, batch by batch; `by_id` finds spans of earlier batches."""

    def __init__(self, run: RunState, by_id: Callable[[str], SpanState | None]) -> None:
        self.run = run
        self.spans: dict[int, SpanState] = {}
        """The spans that this batch touched, by number."""
        self.problems: list[tuple[int, int, int, str]] = []
        """seq, span, severity (0 error, 1 warning), message."""
        self._by_span_id: dict[str, SpanState] = {}
        self._deltas: dict[int, Delta] = {}
        self._earlier = by_id
        self._has_earlier = run.events > 0

    def add(self, head: Head, seq: int) -> int:
        """Take one event in; returns the number of its span."""
        run = self.run
        if run.events == 0:
            run.started_at = head.at
        run.events += 1
        run.last_at = head.at
        span = self._by_span_id.get(head.span) or self._span(head, seq)
        span.last_seq = seq
        take = _TAKE.get(head.type)
        if take is not None:
            decode, step = take
            try:
                step(self, span, decode(head.body), head, seq)
            except (msgspec.DecodeError, RecursionError):
                _other(span, head)
        elif head.type.endswith((".start", ".end")):
            _other(span, head)
        return span.number

    def settle(self, by_number: Callable[[int], SpanState]) -> None:
        """Add what this batch brought to the totals of each span and of all that it is in."""
        deltas = self._deltas
        waiting = list(deltas)
        for number in waiting:
            parent = self._get(number, by_number).parent
            if parent >= 0 and parent not in deltas:
                deltas[parent] = Delta()
                waiting.append(parent)
        for number in sorted(deltas, reverse=True):
            span, delta = self.spans[number], deltas[number]
            span.total_tokens += delta.tokens
            span.total_cost_usd += delta.cost_usd
            span.total_unpriced += delta.unpriced
            span.total_calls += delta.calls
            span.total_errors += delta.errors
            if span.parent >= 0:
                deltas[span.parent].add(delta)

    def clear(self) -> None:
        """Forget the batch, which is written down."""
        self.spans.clear()
        self.problems.clear()
        self._by_span_id.clear()
        self._deltas.clear()
        self._has_earlier = True

    def _get(self, number: int, by_number: Callable[[int], SpanState]) -> SpanState:
        span = self.spans.get(number)
        if span is None:
            span = self.spans[number] = by_number(number)
        return span

    def _span(self, head: Head, seq: int) -> SpanState:
        """The span of an event, begun with it if there is none yet."""
        span = self._find(head.span)
        if span is None:
            above = None if head.parent is None else self._find(head.parent)
            span = SpanState(self.run.spans, head.span, -1, head.at, seq, seq)
            if above is not None:
                span.parent, span.level, span.depth = above.number, above.level + 1, above.depth
                above.children += 1
            self.run.spans += 1
            self._keep(span)
        return span

    def _find(self, span_id: str) -> SpanState | None:
        span = self._by_span_id.get(span_id)
        if span is None and self._has_earlier and (span := self._earlier(span_id)) is not None:
            self._keep(span)
        return span

    def _keep(self, span: SpanState) -> None:
        self._by_span_id[span.id] = self.spans[span.number] = span

    def delta(self, span: SpanState) -> Delta:
        delta = self._deltas.get(span.number)
        if delta is None:
            delta = self._deltas[span.number] = Delta()
        return delta

    def fail(self, span: SpanState, seq: int, message: str) -> None:
        """Note that a span failed."""
        span.status, span.errors = ERROR, span.errors + 1
        self.run.errors += 1
        self.delta(span).errors += 1
        self.problems.append((seq, span.number, 0, message[:MESSAGE_CHARS]))

    def warn(self, span: SpanState, seq: int, message: str) -> None:
        """Note something that a reader should know."""
        self.run.warnings += 1
        self.problems.append((seq, span.number, 1, message[:MESSAGE_CHARS]))


def _run_start(fold: RunFold, _span: SpanState, body: RunStartPart, _head: Head, _seq: int) -> None:
    run = fold.run
    run.model, run.environment = body.model[:NAME_CHARS], body.environment[:NAME_CHARS]
    run.resumed_from, run.forked_from, run.forked_at = body.resumed_from, body.forked_from, body.forked_at
    budget = {name[:NAME_CHARS]: cap for name, cap in list(body.budget.items())[:100] if _is_cap(cap)}
    run.budget = msgspec.json.encode(budget).decode()


def _is_cap(cap: Json) -> bool:
    return cap is None or isinstance(cap, int | float)


def _completion_start(fold: RunFold, span: SpanState, body: CompletionStartPart, head: Head, _seq: int) -> None:
    root = head.parent is None
    _begin(span, 0, "completion" if root else "rlm_query", head)
    span.depth, span.model, span.head = body.depth, body.model[:NAME_CHARS], body.prompt[:HEAD_CHARS]
    fold.run.depth = max(fold.run.depth, body.depth)
    if root:
        fold.run.prompt = body.prompt[:TEXT_CHARS]
        fold.run.model = fold.run.model or span.model
    else:
        fold.run.subcalls += 1


def _completion_end(fold: RunFold, span: SpanState, body: CompletionEndPart, head: Head, seq: int) -> None:
    _end(span, 0, head, body.status)
    if body.status == "failed":
        fold.fail(span, seq, body.error or "failed")
    if head.parent is not None:
        return
    run = fold.run
    run.ended, run.status, run.duration_s = 1, body.status, body.duration_s
    run.response, run.error = body.response[:TEXT_CHARS], (body.error or "")[:TEXT_CHARS]
    run.limit_name = (body.limit or "")[:NAME_CHARS]


def _turn_start(fold: RunFold, span: SpanState, body: NumberedPart, head: Head, _seq: int) -> None:
    _begin(span, 1, "turn", head)
    span.ordinal = body.turn
    fold.run.turns += 1


def _turn_end(_fold: RunFold, span: SpanState, _body: NumberedPart, head: Head, _seq: int) -> None:
    _end(span, 1, head)


def _model_start(fold: RunFold, span: SpanState, body: ModelStartPart, head: Head, _seq: int) -> None:
    _begin(span, 2, body.purpose[:NAME_CHARS], head)
    span.model, span.head = body.model[:NAME_CHARS], (body.prompt or "")[:HEAD_CHARS]
    if body.purpose == "llm_query":
        fold.run.subcalls += 1


def _model_end(fold: RunFold, span: SpanState, body: ModelEndPart, head: Head, seq: int) -> None:
    _end(span, 2, head)
    span.cached = 1 if body.cached else 2 * head.served
    if body.error is not None:
        span.detail = body.error[:HEAD_CHARS]
        fold.fail(span, seq, body.error)
    if not span.cached:
        _pay(fold, span, body)
    elif head.served and not body.cached:
        _serve(fold.run, body)


def _serve(run: RunState, body: ModelEndPart) -> None:
    """Count a call that an earlier run paid: it counts against the caps of this one."""
    run.served_calls += 1
    run.served_tokens += body.usage.input_tokens + body.usage.output_tokens
    run.served_cost_usd += body.cost_usd or 0.0
    run.served_unpriced += _is_unpriced(body)


def _pay(fold: RunFold, span: SpanState, body: ModelEndPart) -> None:
    run, delta = fold.run, fold.delta(span)
    tokens_in, tokens_out = body.usage.input_tokens, body.usage.output_tokens
    cost_usd = body.cost_usd or 0.0
    unpriced = _is_unpriced(body)
    span.input_tokens += tokens_in
    span.output_tokens += tokens_out
    span.cost_usd += cost_usd
    span.unpriced += unpriced
    span.calls += 1
    run.input_tokens += tokens_in
    run.output_tokens += tokens_out
    run.cost_usd += cost_usd
    run.unpriced += unpriced
    run.model_calls += 1
    delta.tokens += tokens_in + tokens_out
    delta.cost_usd += cost_usd
    delta.unpriced += unpriced
    delta.calls += 1


def _is_unpriced(body: ModelEndPart) -> bool:
    return body.cost_usd is None and body.usage.input_tokens + body.usage.output_tokens > 0


def _exec_start(fold: RunFold, span: SpanState, body: NumberedPart, head: Head, _seq: int) -> None:
    _begin(span, 3, "cell", head)
    span.ordinal, span.head = body.cell, body.code[:HEAD_CHARS]
    fold.run.cells += 1


def _exec_end(fold: RunFold, span: SpanState, body: ExecEndPart, head: Head, seq: int) -> None:
    _end(span, 3, head, body.status)
    if body.status != "ok" or body.error is not None:
        error = body.error
        said = body.status if error is None else f"{error.kind}: {error.message[:MESSAGE_CHARS]}"
        span.detail = said[:HEAD_CHARS]
        fold.fail(span, seq, said)
    if body.state_reset:
        fold.warn(span, seq, "the sandbox was killed: variables are lost")


def _tool_start(fold: RunFold, span: SpanState, body: ToolStartPart, head: Head, _seq: int) -> None:
    _begin(span, 4, body.name[:NAME_CHARS], head)
    span.head = _arguments_head(bytes(body.arguments))
    fold.run.tool_calls += 1


def _arguments_head(arguments: bytes) -> str:
    """How arguments begin; where they were too large for the line, that alone is there, as a text."""
    if arguments.startswith(b'"'):
        return str(msgspec.json.decode(arguments))[:HEAD_CHARS]
    return arguments[: 4 * HEAD_CHARS].decode("utf-8", "replace")[:HEAD_CHARS]


def _tool_end(fold: RunFold, span: SpanState, body: ToolEndPart, head: Head, seq: int) -> None:
    _end(span, 4, head)
    if body.error is not None:
        span.detail = body.error[:HEAD_CHARS]
        fold.fail(span, seq, body.error)


def _notice(fold: RunFold, span: SpanState, body: NoticePart, head: Head, seq: int) -> None:
    said = (" ".join(part for part in (body.name, body.state) if part), body.message or body.error)
    fold.warn(span, seq, ": ".join(part for part in said if part) or head.type)


def _begin(span: SpanState, kind: int, name: str, head: Head) -> None:
    span.kind, span.name, span.started_at = kind, name, head.at


def _end(span: SpanState, kind: int, head: Head, detail: str = "") -> None:
    span.kind, span.ended_at, span.detail = kind, head.at, detail
    span.status = span.status or OK


def _other(span: SpanState, head: Head) -> None:
    """A start or an end that nothing more is known of."""
    kind, _, phase = head.type.rpartition(".")
    if phase == "end" and kind != "run":
        span.ended_at, span.status = head.at, span.status or OK
    span.name = span.name or kind[:NAME_CHARS]


def _step(body: Any, step: Any) -> tuple[Any, Any]:
    return msgspec.json.Decoder(body).decode, step


_TAKE: dict[str, tuple[Any, Any]] = {
    "run.start": _step(RunStartPart, _run_start),
    "completion.start": _step(CompletionStartPart, _completion_start),
    "completion.end": _step(CompletionEndPart, _completion_end),
    "turn.start": _step(NumberedPart, _turn_start),
    "turn.end": _step(NumberedPart, _turn_end),
    "model.start": _step(ModelStartPart, _model_start),
    "model.end": _step(ModelEndPart, _model_end),
    "exec.start": _step(NumberedPart, _exec_start),
    "exec.end": _step(ExecEndPart, _exec_end),
    "tool.start": _step(ToolStartPart, _tool_start),
    "tool.end": _step(ToolEndPart, _tool_end),
    "model.retry": _step(NoticePart, _notice),
    "limit": _step(NoticePart, _notice),
    "warning": _step(NoticePart, _notice),
}
