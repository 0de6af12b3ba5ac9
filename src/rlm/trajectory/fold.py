"""Folds the events of a run into its state and those of its spans, one event at a time.

An event may come from the recorder while the run goes on or from its file later: both lead to the same states. Totals
over the tree are added up when they are asked for, by `settle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from rlm.core.events import (
    CompletionEnd,
    CompletionStart,
    Controlled,
    ExecEnd,
    ExecStart,
    Limit,
    ModelEnd,
    ModelRetry,
    ModelStart,
    RunStart,
    ToolEnd,
    ToolStart,
    TurnEnd,
    TurnStart,
    Warned,
)
from rlm.trajectory.states import HEAD_CHARS, NAME_CHARS, TEXT_CHARS, RunState, SpanState

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.events import Body, Event
    from rlm.core.notes import ContextNote
    from rlm.core.types import Json

MESSAGE_CHARS = 500
"""The length of the message of an error or a warning, at most."""
STATUS_CHARS = 20
MAX_COUNT = 1 << 40
"""No run has more of anything; what a record says beyond it is not believed, so that no sum overflows."""
MAX_USD = MAX_S = 1e9
MAX_CAPS = 100


class Head(Protocol):
    """What the fold needs of an event beside its body."""

    @property
    def at(self) -> float: ...
    @property
    def span(self) -> str: ...
    @property
    def parent(self) -> str | None: ...
    @property
    def type(self) -> str: ...
    @property
    def served(self) -> bool: ...


class RunFold:
    """The states of one run while its events are taken in, batch by batch."""

    def __init__(self, run: RunState, find: Callable[[str], SpanState | None] = lambda _id: None) -> None:
        """`find` gives a span of an earlier batch by its id."""
        self.run = run
        self.spans: dict[int, SpanState] = {}
        """The spans that this batch touched, by number."""
        self.problems: list[tuple[int, int, str, str]] = []
        """What went wrong in this batch: seq, number of the span, severity (`error` or `warning`), message."""
        self._by_id: dict[str, SpanState] = {}
        self._deltas: dict[int, _Delta] = {}
        self._find_earlier = find
        self._has_earlier = run.events > 0

    def add(self, head: Head, body: Any, seq: int) -> int:
        """Take one event in; returns the number of its span. A body that isn't of a class in `STEPS` counts for
        nothing."""
        run = self.run
        if run.events == 0:
            run.started_at = head.at
        run.events += 1
        run.last_at = head.at
        span = self._by_id.get(head.span) or self._span(head, seq)
        span.last_seq = seq
        step = STEPS.get(type(body))
        if step is not None:
            step(self, span, body, head, seq)
        elif head.type.endswith((".start", ".end")):
            _other(span, head)
        return span.number

    def settle(self, by_number: Callable[[int], SpanState]) -> None:
        """Add what this batch brought to the totals of each span and of all spans that it is in."""
        deltas = self._deltas
        waiting = list(deltas)
        for number in waiting:
            parent = self._get(number, by_number).parent_number
            if parent >= 0 and parent not in deltas:
                deltas[parent] = _Delta()
                waiting.append(parent)
        for number in sorted(deltas, reverse=True):
            span, delta = self.spans[number], deltas[number]
            span.total_tokens += delta.tokens
            span.total_spent_usd += delta.spent_usd
            span.total_unpriced += delta.unpriced
            span.total_calls += delta.calls
            span.total_errors += delta.errors
            if span.parent_number >= 0:
                deltas[span.parent_number].add(delta)

    def clear(self) -> None:
        """Forget the batch, which is written down."""
        self.spans.clear()
        self.problems.clear()
        self._by_id.clear()
        self._deltas.clear()
        self._has_earlier = True

    def forget(self, span_id: str) -> None:
        """Forget a span and what went wrong, for a view that shows neither once the span has ended."""
        span = self._by_id.pop(span_id, None)
        if span is not None:
            self.spans.pop(span.number, None)
            self._deltas.pop(span.number, None)
        self.problems.clear()

    def fail(self, span: SpanState, seq: int, message: str) -> None:
        """Note that a span failed."""
        span.status = "error"
        span.errors += 1
        self.run.errors += 1
        self.delta(span).errors += 1
        self.problems.append((seq, span.number, "error", message[:MESSAGE_CHARS]))

    def warn(self, span: SpanState, seq: int, message: str) -> None:
        """Note something that a reader should know."""
        self.run.warnings += 1
        self.problems.append((seq, span.number, "warning", message[:MESSAGE_CHARS]))

    def delta(self, span: SpanState) -> _Delta:
        """What this batch adds to the totals of a span."""
        delta = self._deltas.get(span.number)
        if delta is None:
            delta = self._deltas[span.number] = _Delta()
        return delta

    def _get(self, number: int, by_number: Callable[[int], SpanState]) -> SpanState:
        span = self.spans.get(number)
        if span is None:
            span = self.spans[number] = by_number(number)
        return span

    def _span(self, head: Head, seq: int) -> SpanState:
        """The span of an event; a new span if the event is the first with that id."""
        span = self._find(head.span)
        if span is None:
            above = None if head.parent is None else self._find(head.parent)
            span = SpanState(self.run.spans, head.span, -1, head.at, seq, seq)
            if above is not None:
                span.parent_number, span.parent = above.number, above.id
                span.level, span.depth = above.level + 1, above.depth
                above.children += 1
            self.run.spans += 1
            self._keep(span)
        return span

    def _find(self, span_id: str) -> SpanState | None:
        span = self._by_id.get(span_id)
        if span is None and self._has_earlier and (span := self._find_earlier(span_id)) is not None:
            self._keep(span)
        return span

    def _keep(self, span: SpanState) -> None:
        self._by_id[span.id] = self.spans[span.number] = span


class LiveRun:
    """The state of a run that goes on, for a view of it. Of its spans only those that are open are kept."""

    def __init__(self) -> None:
        self.state = RunState("")
        self._fold = RunFold(self.state)

    @property
    def open_spans(self) -> list[SpanState]:
        """The spans that have begun and not ended, in the order in which they began."""
        return [span for _, span in sorted(self._fold.spans.items()) if span.status == "open" and span.kind != "other"]

    def add(self, event: Event) -> None:
        """Take one more event."""
        self.state.id = event.run
        self._fold.add(event, event.body, event.seq)
        if event.type.endswith(".end"):
            self._fold.forget(event.span)


class _Delta:
    """What one batch adds to a span's totals."""

    __slots__ = ("calls", "errors", "spent_usd", "tokens", "unpriced")

    def __init__(self) -> None:
        self.tokens = self.unpriced = self.calls = self.errors = 0
        self.spent_usd = 0.0

    def add(self, other: _Delta) -> None:
        self.tokens += other.tokens
        self.spent_usd += other.spent_usd
        self.unpriced += other.unpriced
        self.calls += other.calls
        self.errors += other.errors


def _run_start(fold: RunFold, _span: SpanState, body: RunStart, _head: Head, _seq: int) -> None:
    run = fold.run
    run.model, run.environment = body.model[:NAME_CHARS], body.environment[:NAME_CHARS]
    run.resumed_from = body.resumed_from and body.resumed_from[:NAME_CHARS]
    run.forked_from = body.forked_from and body.forked_from[:NAME_CHARS]
    run.forked_at = _count(body.forked_at) if body.forked_from else None
    run.prompt = body.addition[:TEXT_CHARS]
    caps = {name[:NAME_CHARS]: cap for name, cap in list(body.budget.items())[:MAX_CAPS] if _is_cap(cap)}
    run.budget_json = msgspec.json.encode(caps).decode()


def _is_cap(cap: Json) -> bool:
    return cap is None or isinstance(cap, int | float)


def _completion_start(fold: RunFold, span: SpanState, body: CompletionStart, head: Head, _seq: int) -> None:
    run, is_root = fold.run, head.parent is None
    _begin(span, "completion", "completion" if is_root else "rlm_query", head)
    span.depth, span.model, span.head = _count(body.depth), body.model[:NAME_CHARS], body.prompt[:HEAD_CHARS]
    run.depth = max(run.depth, span.depth)
    if is_root:
        run.prompt = (f"{run.prompt} (after: {body.prompt})" if run.prompt else body.prompt)[:TEXT_CHARS]
        run.context = _context(body.context)
        run.model = run.model or span.model
    else:
        run.subcalls += 1
        run.open_subcalls += 1


def _context(note: ContextNote) -> str:
    """What a run was given, in a few words."""
    if note.kind == "none":
        return ""
    read_from = f" from {note.sources[0]}" if note.sources else ""
    more = f" and {len(note.sources) - 1:,} more" if len(note.sources) > 1 else ""
    return f"{note.kind} of {max(0, note.size_bytes):,} bytes{read_from}{more}"[:HEAD_CHARS]


def _completion_end(fold: RunFold, span: SpanState, body: CompletionEnd, head: Head, seq: int) -> None:
    run, was_open = fold.run, span.ended_at is None
    _end(span, "completion", head, body.status)
    if body.status == "failed":
        fold.fail(span, seq, body.error or "failed")
    if head.parent is not None:
        run.open_subcalls -= was_open and span.name == "rlm_query"
        return
    run.status, run.ended_after_s, run.open_subcalls = body.status, _within(body.duration_s, MAX_S), 0
    run.response, run.error = body.response[:TEXT_CHARS], (body.error or "")[:TEXT_CHARS]
    run.limit = (body.limit or "")[:NAME_CHARS]


def _turn_start(fold: RunFold, span: SpanState, body: TurnStart, head: Head, _seq: int) -> None:
    _begin(span, "turn", "turn", head)
    span.ordinal = _count(body.turn)
    fold.run.turns += 1


def _turn_end(_fold: RunFold, span: SpanState, _body: TurnEnd, head: Head, _seq: int) -> None:
    _end(span, "turn", head)


def _model_start(fold: RunFold, span: SpanState, body: ModelStart, head: Head, _seq: int) -> None:
    _begin(span, "model", body.purpose[:NAME_CHARS], head)
    span.model, span.head = body.model[:NAME_CHARS], (body.prompt or "")[:HEAD_CHARS]
    span.max_output_tokens = _count(body.max_output_tokens)
    if body.purpose == "llm_query":
        fold.run.subcalls += 1
        fold.run.open_subcalls += 1


def _model_end(fold: RunFold, span: SpanState, body: ModelEnd, head: Head, seq: int) -> None:
    fold.run.open_subcalls -= span.ended_at is None and span.name == "llm_query"
    _end(span, "model", head)
    span.finish = body.finish if body.error is None else ""
    span.answered_from = "memory" if body.cached else "record" if head.served else ""
    if body.error is not None:
        span.detail = body.error[:HEAD_CHARS]
        fold.fail(span, seq, body.error)
    if not span.answered_from:
        _pay(fold, span, body)
    elif span.answered_from == "record":
        _serve(fold.run, body)


def _serve(run: RunState, body: ModelEnd) -> None:
    """Count a call that an earlier run paid: it counts against the caps of this one."""
    tokens = _count(body.usage.input_tokens) + _count(body.usage.output_tokens)
    run.served_calls += 1
    run.served_tokens += tokens
    run.served_usd += _within(body.cost_usd or 0.0, MAX_USD)
    run.served_unpriced += body.cost_usd is None and tokens > 0


def _pay(fold: RunFold, span: SpanState, body: ModelEnd) -> None:
    run, delta = fold.run, fold.delta(span)
    tokens_in, tokens_out = _count(body.usage.input_tokens), _count(body.usage.output_tokens)
    spent_usd = _within(body.cost_usd or 0.0, MAX_USD)
    unpriced = body.cost_usd is None and tokens_in + tokens_out > 0
    span.input_tokens += tokens_in
    span.output_tokens += tokens_out
    span.cached_tokens += _count(body.usage.cached_tokens)
    span.cache_write_tokens += _count(body.usage.cache_write_tokens)
    span.spent_usd += spent_usd
    span.unpriced += unpriced
    span.calls += 1
    run.input_tokens += tokens_in
    run.output_tokens += tokens_out
    run.spent_usd += spent_usd
    run.unpriced += unpriced
    run.model_calls += 1
    delta.tokens += tokens_in + tokens_out
    delta.spent_usd += spent_usd
    delta.unpriced += unpriced
    delta.calls += 1


def _exec_start(fold: RunFold, span: SpanState, body: ExecStart, head: Head, _seq: int) -> None:
    _begin(span, "exec", "cell", head)
    span.ordinal, span.head = _count(body.cell), body.code[:HEAD_CHARS]
    fold.run.cells += 1
    if span.level == 1 and not fold.run.turns and not fold.run.first_cell:
        fold.run.first_cell = span.head


def _exec_end(fold: RunFold, span: SpanState, body: ExecEnd, head: Head, seq: int) -> None:
    _end(span, "exec", head, body.status[:STATUS_CHARS])
    if body.status != "ok" or body.error is not None:
        error = body.error
        said = span.detail if error is None else f"{error.kind}: {error.message[:MESSAGE_CHARS]}"
        span.detail = said[:HEAD_CHARS]
        fold.fail(span, seq, said)
    if body.state_reset:
        fold.warn(span, seq, "the sandbox was killed: variables are lost")


def _tool_start(fold: RunFold, span: SpanState, body: ToolStart, head: Head, _seq: int) -> None:
    _begin(span, "tool", body.name[:NAME_CHARS], head)
    span.head = _arguments_head(body.arguments)
    fold.run.tool_calls += 1


def _arguments_head(arguments: Json) -> str:
    """How arguments begin, as JSON; where they were too large for the line, a text has their beginning alone."""
    if isinstance(arguments, str):
        return arguments[:HEAD_CHARS]
    return msgspec.json.encode(arguments)[: 4 * HEAD_CHARS].decode("utf-8", "replace")[:HEAD_CHARS]


def _tool_end(fold: RunFold, span: SpanState, body: ToolEnd, head: Head, seq: int) -> None:
    _end(span, "tool", head)
    if body.error is not None:
        span.detail = body.error[:HEAD_CHARS]
        fold.fail(span, seq, body.error)


def _retry(fold: RunFold, span: SpanState, body: ModelRetry, _head: Head, seq: int) -> None:
    fold.warn(span, seq, body.error or body.TYPE)


def _limit(fold: RunFold, span: SpanState, body: Limit, _head: Head, seq: int) -> None:
    fold.warn(span, seq, f"{body.name} {body.state}: {body.message}")


def _warned(fold: RunFold, span: SpanState, body: Warned, _head: Head, seq: int) -> None:
    fold.warn(span, seq, body.message or body.TYPE)


def _control(fold: RunFold, span: SpanState, body: Controlled, _head: Head, seq: int) -> None:
    run = fold.run
    if body.action in ("pause", "resume"):
        run.paused_by = body.who[:NAME_CHARS] if body.action == "pause" else ""
    if body.action == "set" and _is_cap(body.value):
        run.budget_json = msgspec.json.encode(dict(run.budget) | {body.cap[:NAME_CHARS]: body.value}).decode()
    fold.warn(span, seq, body.words)


def _begin(span: SpanState, kind: str, name: str, head: Head) -> None:
    span.kind, span.name, span.started_at = kind, name, head.at


def _end(span: SpanState, kind: str, head: Head, detail: str = "") -> None:
    span.kind, span.ended_at, span.detail = kind, head.at, detail
    if span.status == "open":
        span.status = "ok"


def _other(span: SpanState, head: Head) -> None:
    """Take in a start or an end of which no more is known."""
    kind, _, phase = head.type.rpartition(".")
    if phase == "end" and kind != "run":
        span.ended_at = head.at
        if span.status == "open":
            span.status = "ok"
    span.name = span.name or kind[:NAME_CHARS]


def _count(number: int) -> int:
    """A number that a record may have; 0 for one that can't be true."""
    return number if 0 <= number <= MAX_COUNT else 0


def _within(number: float, most: float) -> float:
    """An amount that a record may have; 0 for one that can't be true."""
    return number if 0.0 <= number <= most else 0.0


STEPS: dict[type[Body], Callable[[RunFold, SpanState, Any, Head, int], None]] = {
    RunStart: _run_start,
    CompletionStart: _completion_start,
    CompletionEnd: _completion_end,
    TurnStart: _turn_start,
    TurnEnd: _turn_end,
    ModelStart: _model_start,
    ModelEnd: _model_end,
    ModelRetry: _retry,
    ExecStart: _exec_start,
    ExecEnd: _exec_end,
    ToolStart: _tool_start,
    ToolEnd: _tool_end,
    Limit: _limit,
    Warned: _warned,
    Controlled: _control,
}
"""What the fold does with each body that it takes in."""
