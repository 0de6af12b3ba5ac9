"""What must hold for every tree, whatever was drawn. Everything is computed anew from the events and from the books of
the model and of the sandbox; nothing is asked of the ledger but what it has at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlm.core.budget import MIN_OUTPUT_TOKENS
from rlm.core.exceptions import LimitReached, RLMError, SubcallBudgetExhausted, TimeLimitReached
from rlm.core.types import Charge, TokenUsage
from rlm.trajectory.reader import Trajectory
from tests.support.trees import MARK, PRICES

if TYPE_CHECKING:
    from rlm.core.events import Event
    from tests.support.tree_runs import Grown
    from tests.support.trees import Plan

USD_ERROR = 1e-9
SLACK_S = 2.0
"""How long a run may take to return once its time is over."""


def check(grown: Grown) -> None:
    """Assert all that must hold.

    Raises:
        AssertionError: it does not; the plan is in the message.
    """
    problems = [problem for examine in EXAMINATIONS for problem in examine(grown)]
    assert not problems, "\n".join([*problems[:5], repr(grown.plan)])


def _caps(grown: Grown) -> Iterator[str]:
    """No cap is passed at any instant: each call's start is a grant, and its end a settlement."""
    watch = _Watch(grown.plan, grown.events[0].span, aside=grown.ledger._landing_tokens)
    for event in grown.events:
        watch.take(event)
        yield from watch.problems()


@dataclass
class _Watch:
    """Spend and reservations, event by event."""

    plan: Plan
    root: str
    aside: int
    """Tokens that every call but the landing of the root must leave."""
    open: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, Charge] = field(default_factory=dict)
    """What the attempts of a call were charged that have failed so far."""
    turns: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    error_tokens: int = 0
    """By how much prompts were larger than their estimates."""
    usd: float = 0.0
    error_usd: float = 0.0
    tools: int = 0
    left_aside: int = 0
    """What the call that has just been granted had to leave."""

    def take(self, event: Event) -> None:
        self.left_aside = 0
        if event.type == "model.start" and event.body.max_output_tokens:  # a recalled reply has none
            self.open[event.span] = event.body
            self.left_aside = 0 if event.body.purpose == "landing" and event.parent == self.root else self.aside
        elif event.type == "model.retry":
            self.lost[event.span] = self.lost.get(event.span, Charge()) + event.body.charge
            self.tokens += event.body.charge.usage.total_tokens
            self.usd += event.body.charge.cost_usd or 0.0
        elif event.type == "model.end" and event.span in self.open:
            self._settle(self.open.pop(event.span), event.body, self.lost.pop(event.span, Charge()))
        elif event.type == "turn.start":
            self.turns[str(event.parent)] += 1
        self.tools += event.type == "tool.start"

    def _settle(self, start: Any, end: Any, lost: Charge) -> None:
        self.tokens += end.usage.total_tokens - lost.usage.total_tokens
        input_tokens = end.usage.input_tokens - lost.usage.input_tokens
        self.error_tokens += max(0, input_tokens - start.input_tokens_estimate)
        if end.cost_usd is not None:
            last_usd = end.cost_usd - (lost.cost_usd or 0.0)
            self.usd += last_usd
            self.error_usd += max(0.0, last_usd - self._worst_usd(start))

    def _worst_usd(self, start: Any) -> float:
        if start.model not in self.plan.priced:
            return 0.0
        worst = TokenUsage(input_tokens=start.input_tokens_estimate, output_tokens=start.max_output_tokens)
        return PRICES[start.model].cost_usd(worst)

    def problems(self) -> Iterator[str]:
        caps = self.plan.budget
        reserved = sum(call.input_tokens_estimate + call.max_output_tokens for call in self.open.values())
        reserved_usd = sum(self._worst_usd(call) for call in self.open.values())
        held = self.tokens + reserved + self.left_aside
        if caps.token_budget is not None and held > caps.token_budget + self.error_tokens:
            yield f"{held} tokens spent, reserved and set aside of {caps.token_budget} (+{self.error_tokens})"
        held_usd = self.usd + reserved_usd
        if caps.cost_budget_usd is not None and held_usd > caps.cost_budget_usd + self.error_usd + USD_ERROR:
            yield f"{held_usd} USD spent and reserved of {caps.cost_budget_usd}"
        if len(self.open) > caps.max_concurrency:
            yield f"{len(self.open)} requests in flight of {caps.max_concurrency}"
        if caps.tool_budget is not None and self.tools > caps.tool_budget:
            yield f"{self.tools} tool calls of {caps.tool_budget}"
        if max(self.turns.values(), default=0) > caps.max_turns:
            yield f"more than {caps.max_turns} turns"


def _spend(grown: Grown) -> Iterator[str]:
    """What is reported is what the model made, and what was charged for calls that failed or were cut off, and for
    attempts that failed before a reply came.
    """
    made, usage = grown.model.made, grown.result.usage
    answered = {event.span for event in grown.events if event.type == "model.end" and event.body.error is None}
    cut_off = [event.body for event in grown.events if _is_cut_off(event)]
    lost = [event.body for event in grown.events if event.type == "model.retry" and event.span in answered]
    total = sum((body.usage for body in (*cut_off, *lost)), made.usage)
    reported = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.model_calls)
    if reported != (total.input_tokens, total.output_tokens, total.cached_tokens, made.replies + len(cut_off)):
        yield f"reported {usage}, made {made}, cut off {len(cut_off)}"
    costs = [made.cost_usd, *(body.cost_usd for body in cut_off), *(body.charge.cost_usd for body in lost)]
    known = [cost for cost in costs if cost is not None]
    if not _same_usd(sum(known) if len(known) == len(costs) else None, grown.result.cost_usd):
        yield f"cost reported {grown.result.cost_usd}, made {costs}"


def _is_cut_off(event: Event) -> bool:
    """A call that failed or that nobody waited for, charged by its worst case."""
    return event.type == "model.end" and event.body.error is not None and event.body.usage.total_tokens > 0


def _same_usd(made: float | None, reported: float | None) -> bool:
    return reported is None if made is None else reported is not None and abs(made - reported) <= USD_ERROR


def _folds(grown: Grown) -> Iterator[str]:
    """Each completion's usage is the fold over the events below it."""
    above = {event.span: event.parent for event in grown.events if event.type.endswith(".start")}
    folds: dict[str, Counter[str]] = {}
    for event in grown.events:
        for span in _line(event.span, above):
            _fold(folds.setdefault(span, Counter()), event)
    for event in grown.events:
        if event.type == "completion.end":
            fold, usage = folds[event.span], event.body.usage
            said = {name: getattr(usage, name) for name in FOLDED}
            if said != {name: fold[name] for name in FOLDED}:
                yield f"completion.end says {said}, its events {dict(fold)}"


FOLDED = ("input_tokens", "output_tokens", "cached_tokens", "model_calls", "tool_calls", "turns")


def _fold(fold: Counter[str], event: Event) -> None:
    if event.type == "model.end":
        usage = event.body.usage
        fold["input_tokens"] += usage.input_tokens
        fold["output_tokens"] += usage.output_tokens
        fold["cached_tokens"] += usage.cached_tokens
        fold["model_calls"] += not event.body.cached and (event.body.error is None or _is_cut_off(event))
    fold["tool_calls"] += event.type == "tool.start"
    fold["turns"] += event.type == "turn.start"


def _line(span: str, above: dict[str, str | None]) -> Iterator[str]:
    node: str | None = span
    while node is not None:
        yield node
        node = above.get(node)


def _owner(event: Event, above: dict[str, str | None], completions: Container[str]) -> str:
    """The completion that an event is in."""
    return next(span for span in _line(str(event.parent), above) if span in completions)


def _spans(grown: Grown) -> Iterator[str]:
    """Every span ends once, within the one above it; nothing happens in a span that isn't open."""
    open_spans: dict[str, str | None] = {}
    root = grown.events[0].span
    for seq, event in enumerate(grown.events):
        kind, _, phase = event.type.partition(".")
        if event.seq != seq:
            yield f"seq {event.seq} at place {seq}"
        if phase == "start" and kind != "run":
            if event.span in open_spans or (event.parent is not None and event.parent not in open_spans):
                yield f"{event.type} twice, or outside of the span above it"
            open_spans[event.span] = event.parent
        elif event.span not in open_spans and event.type not in ("run.start", "sandbox"):
            yield f"{event.type} in a span that is not open"
        elif phase == "end":
            del open_spans[event.span]
            if event.span in open_spans.values():
                yield f"{event.type} while a span within it is open"
    if open_spans:
        yield f"never ended: {[event.type for event in grown.events if event.span in open_spans]}, root {root}"


def _depth(grown: Grown) -> Iterator[str]:
    depths = {event.span: event.body.depth for event in grown.events if event.type == "completion.start"}
    above = {event.span: event.parent for event in grown.events if event.type.endswith(".start")}
    callers = (_owner(event, above, depths) for event in grown.events if event.type == "model.start")
    deepest = max((depths[caller] for caller in callers), default=0)
    if max(depths.values()) > grown.plan.budget.max_depth or deepest != grown.result.usage.depth_reached:
        yield f"depth {deepest}, reported {grown.result.usage.depth_reached}, cap {grown.plan.budget.max_depth}"


def _places(grown: Grown) -> Iterator[str]:
    """Requests and REPLs stay under their caps, and nothing is left."""
    plan, made, sandbox = grown.plan, grown.model.made, grown.sandbox
    if made.peak_in_flight > plan.budget.max_concurrency or sandbox.peak_alive > plan.max_sandboxes:
        yield f"{made.peak_in_flight} requests, {sandbox.peak_alive} REPLs at one time"
    if grown.left_running or sandbox.alive:
        yield f"left: {sandbox.alive} REPLs, {grown.left_running}"
    if grown.run.requests._value != plan.budget.max_concurrency or grown.run.slots._free != plan.max_sandboxes:
        yield "places are still taken"
    if grown.ledger._reserved_tokens or grown.ledger._reserved_cost_usd:
        yield "room is still reserved"


def _answers(grown: Grown) -> Iterator[str]:
    """Batches are whole and in order; of an exhausted batch the first part is answered."""
    granted = 0
    for call in grown.sandbox.calls:
        if "query" not in call.name:
            continue
        if call.name.endswith("batched"):
            if call.error is not None:
                yield f"a whole batch failed: {call.error!r}"
                continue
            items, prompts = call.answer, call.args[0]
        else:
            items, prompts = [call.answer if call.error is None else call.error], [call.args[0]]
        if len(items) != len(prompts):
            yield f"{len(items)} answers to {len(prompts)} prompts"
        for item, prompt in zip(items, prompts, strict=False):
            granted += not isinstance(item, SubcallBudgetExhausted | TimeLimitReached)
            if not isinstance(item, RLMError) and MARK.findall(prompt)[0] not in str(item):
                yield f"{prompt[:20]!r} was answered by {str(item)[:100]!r}"
        kept = [not isinstance(item, SubcallBudgetExhausted) for item in items]
        if kept != sorted(kept, reverse=True):
            yield "an item after a refused one was granted"
    usage, cap = grown.result.usage, grown.plan.budget.subcall_budget
    if granted > usage.subcalls or (cap is not None and usage.subcalls > cap):
        yield f"{granted} sub-calls seen, {usage.subcalls} reported, cap {cap}"


def _status(grown: Grown) -> Iterator[str]:
    """Status, limit, error and the exception agree."""
    result = grown.result
    error = result.error
    agrees = {
        "completed": error is None and result.limit is None,
        "limit": isinstance(error, LimitReached) and result.limit == error.limit,
        "failed": error is not None and not isinstance(error, LimitReached) and result.limit is None,
        "cancelled": result.limit is None and bool(grown.plan.cancel_at),
    }[result.status]
    if not agrees or result.success != (result.status == "completed"):
        yield f"{result.status}, limit {result.limit}, error {error!r}"
    try:
        result.raise_for_status()
        raised: Exception | None = None
    except Exception as caught:  # noqa: BLE001 - it is what is examined
        raised = caught
    if (raised is None) != result.success:
        yield f"{result.status} but raise_for_status gave {raised!r}"
    if result.status == "failed" and not isinstance(error, RLMError):
        yield f"failed by {error!r}"


def _limits(grown: Grown) -> Iterator[str]:
    """A limit that ended the run was really reached."""
    budget, result = grown.plan.budget, grown.result
    turns = sum(event.type == "turn.start" and event.parent == grown.events[0].span for event in grown.events)
    reached = {
        "max_turns": turns == budget.max_turns,
        "timeout_s": budget.timeout_s is not None and grown.took_s >= 0.75 * budget.timeout_s - USD_ERROR,
        "tool_budget": result.usage.tool_calls == budget.tool_budget,
        "token_budget": budget.token_budget is not None,
        "cost_budget_usd": budget.cost_budget_usd is not None,
        None: True,
    }
    if not reached[result.limit]:
        yield f"{result.limit} was not reached: {result.usage} after {grown.took_s} s"
    if budget.timeout_s is not None and grown.took_s > budget.timeout_s + SLACK_S:
        yield f"{grown.took_s} s of {budget.timeout_s}"
    yield from _refusals(grown)


def _refusals(grown: Grown) -> Iterator[str]:
    """No call was refused that would have fitted."""
    spent, lost = 0, Counter[str]()
    least = min(MIN_OUTPUT_TOKENS, grown.plan.max_output_tokens)
    for event in grown.events:
        if event.type == "model.retry":
            lost[event.span] += event.body.usage.total_tokens
            spent += event.body.usage.total_tokens
        spent += event.body.usage.total_tokens - lost[event.span] if event.type == "model.end" else 0
        if event.type == "limit" and event.body.name == "token_budget" and event.body.state == "reached":
            found = re.search(r"takes about ([\d,]+) and its reply", event.body.message)
            assert found
            wanted = int(found[1].replace(",", "")) + least + grown.ledger._landing_tokens
            if spent + wanted <= (grown.plan.budget.token_budget or 0):
                yield f"{wanted} tokens were refused with {spent} spent of {grown.plan.budget.token_budget}"


def _finished(grown: Grown) -> Iterator[str]:
    """A finished answer is never thrown away, of the root or of a child."""
    completions: set[str] = set()
    given: dict[str, str] = {}
    above = {event.span: event.parent for event in grown.events if event.type.endswith(".start")}
    for event in grown.events:
        if event.type == "completion.start":
            completions.add(event.span)
        elif event.type == "exec.end" and event.body.final is not None:
            given[_owner(event, above, completions)] = event.body.final.text
        elif event.type == "completion.end" and event.span in given and event.body.response != given[event.span]:
            yield f"{given[event.span]!r} was given, {event.body.status} {event.body.response!r} returned"


def _record(grown: Grown) -> Iterator[str]:
    """The record on disk holds every event."""
    assert grown.result.trajectory is not None
    on_disk = [(event.seq, event.type) for event in Trajectory(grown.result.trajectory)]
    if on_disk != [(event.seq, event.type) for event in grown.events]:
        yield f"{len(on_disk)} events on disk of {len(grown.events)}"


EXAMINATIONS = (
    _caps,
    _spend,
    _folds,
    _spans,
    _depth,
    _places,
    _answers,
    _status,
    _limits,
    _finished,
    _record,
)
