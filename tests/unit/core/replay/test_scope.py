"""What a scope serves from the record: by what was asked, not by when; and what it makes."""

import threading

import pytest

from rlm.core.budget import Budget, Ledger
from rlm.core.events import CompletionStart, Event, ExecEnd, Limit, ModelEnd, ModelStart
from rlm.core.exceptions import TimeLimitReached, TokenBudgetExhausted
from rlm.core.notes import ContextNote
from rlm.core.record.recorder import Recorder, Span
from rlm.core.replay.cursor import Cursor
from rlm.core.replay.following import RecordedScope
from rlm.core.replay.record import Record, Recorded, spent_by
from rlm.core.replay.scope import Call, Scope
from rlm.core.replay.serving import Recall, ReplayRules
from rlm.core.types import RunUsage, TokenUsage
from rlm.sinks.memory import MemorySink


class Nowhere:
    def write(self, event, line):
        return

    def store(self, content):
        return ""

    def close(self):
        return


class Plain:
    def read(self, event):
        return event.body

    def image(self, digest):
        return None


def event(body, span, seq=0):
    return Event(seq=seq, at=float(seq), run="r" * 32, span=span, parent="c", type=body.TYPE, body=body)


def child_start(key):
    context = ContextNote(kind="none")
    return CompletionStart(depth=1, prompt="p", model="m", dialect="code", context=context, key=key)


def call(span, key, text, *, digest=None, error=None, seq=0):
    start = ModelStart(
        model="m", purpose="llm_query", max_output_tokens=9, input_tokens_estimate=5, key=key, digest=digest
    )
    end = ModelEnd(
        text=text, usage=TokenUsage(input_tokens=7, output_tokens=2), finish="stop", cost_usd=0.5, error=error
    )
    return Recorded(id=span, parent="c", kind="model", start=event(start, span, seq), end=event(end, span, seq))


def recall_of(*calls, sink=None, masked=False, events=(), masker=None, rules=None):
    cell = Recorded(id="c", parent="t", kind="exec", events=list(events), children=list(calls))
    recorder = Recorder("n" * 32, Nowhere(), [sink] if sink else [], masker)
    record = Record(run_id="r" * 32, root=cell, source=Plain(), masked=masked)
    return Recall(recorder, b"salt", record, rules or ReplayRules()), cell


def scope_of(recall, cell, *, ledger=None):
    """The scope of a recorded cell."""
    root = Recorded(id="root", parent=None, kind="completion")
    cursor = Cursor(recall, ledger or Ledger(Budget()), Span("root", None), root)
    return RecordedScope(cursor, Span("c", "t"), cell, cell=1)


def asked(key, made, kind="model"):
    """A call that notes in `made` that it was made."""

    async def make(scope):
        made.append(key)
        return "made"

    return Call(
        kind=kind,
        key=key,
        words=key,
        make=make,
        read=lambda earlier: earlier.end.text,
        cut_off=lambda start: start.given_up(None),
        again=lambda redo: "again",
    )


async def answers_of(scope, *keys):
    """What is answered, and what was made for it."""
    made = []
    return [await scope.answer(asked(key, made)) for key in keys], made


async def test_the_same_question_has_a_number_and_another_salt_other_keys():
    recall, cell = recall_of()
    scope = scope_of(recall, cell)
    first, second, other = [await scope.key("q", text) for text in "aab"]
    assert first.partition("/")[0] == second.partition("/")[0] != other.partition("/")[0]
    assert [key.partition("/")[2] for key in (first, second, other)] == ["1", "2", "1"]
    assert Recall(recall.recorder, b"pepper").digest("q", "a") not in first


async def test_replies_are_found_whatever_the_order_of_asking():
    recall, _ = recall_of()
    keys = [f"{recall.digest('q', text)}/1" for text in "abc"]
    recall, cell = recall_of(*(call(f"s{n}", key, f"reply {n}") for n, key in enumerate(keys)))
    scope = scope_of(recall, cell)
    found, made = await answers_of(scope, *[await scope.key("q", text) for text in "cab"])
    assert (found, made) == (["reply 2", "reply 0", "reply 1"], [])
    assert await answers_of(scope, keys[0]) == (["made"], keys[:1]), "each is given once"


async def test_without_the_salt_calls_are_known_by_their_place():
    recall, cell = recall_of(call("s0", "x/1", "first"), call("s1", "y/1", "second"), masked=True)
    scope = scope_of(recall, cell)
    found, _ = await answers_of(scope, *[await scope.key("llm_query", text) for text in ("whatever", "else")])
    assert found == ["first", "second"]


async def test_of_the_calls_with_one_key_the_last_has_the_answer_and_all_are_counted():
    sink, ledger = MemorySink(), Ledger(Budget())
    cut_off, given_up = call("s0", "x/1", ""), call("s1", "x/1", "", error="CancelledError: ")
    cut_off.end = None
    recall, cell = recall_of(cut_off, given_up, call("s2", "x/1", "at last"), sink=sink)
    assert await answers_of(scope_of(recall, cell, ledger=ledger), "x/1") == (["at last"], [])
    assert [(each.span, each.served) for each in sink.events if each.type == "model.end"] == [
        ("s0", True),
        ("s1", True),
        ("s2", True),
    ]
    assert ledger.usage().model_calls == 3


async def test_a_call_that_shares_a_reply_and_was_cut_off_is_passed_over_too():
    ledger, shared = Ledger(Budget()), call("s0", "x/1", "")
    body = ModelStart(model="m", purpose="llm_query", max_output_tokens=0, input_tokens_estimate=0, key="x/1")
    shared.start, shared.end = event(body, "s0"), event(body.given_up(None), "s0")
    recall, cell = recall_of(shared, call("s1", "x/1", "at last"))
    assert await answers_of(scope_of(recall, cell, ledger=ledger), "x/1") == (["at last"], [])
    assert ledger.usage().model_calls == 1


async def test_a_call_that_was_under_way_is_made_again_and_the_user_told():
    sink = MemorySink()
    cut_off = call("s0", "x/1", "")
    cut_off.end = None
    recall, cell = recall_of(cut_off, sink=sink)
    assert await answers_of(scope_of(recall, cell), "x/1") == (["made"], ["x/1"])
    assert [body.message for body in sink.bodies("warning")] == ["again"]


async def test_a_child_that_had_no_room_when_it_was_resumed_is_a_plain_call_from_then_on():
    child = Recorded(id="s0", parent="c", kind="completion", start=event(child_start("x/1"), "s0"))
    recall, cell = recall_of(child, call("s1", "x/1", "plain"))
    scope = scope_of(recall, cell)
    assert scope.last_kind("x/1") == "model"
    assert await answers_of(scope, "x/1") == (["plain"], [])


async def test_what_is_served_is_recorded_again_and_counted():
    sink, ledger = MemorySink(), Ledger(Budget())
    recall, cell = recall_of(call("s0", "x/1", "first"), sink=sink)
    await recall.copy(cell.children[0], ledger)
    assert [(each.type, each.served, each.span) for each in sink.events] == [
        ("model.start", True, "s0"),
        ("model.end", True, "s0"),
    ]
    assert (ledger.usage(), ledger.cost_usd) == (RunUsage(input_tokens=7, output_tokens=2, model_calls=1), 0.5)


class Noting:
    """A masker that notes in which threads it is at work."""

    def __init__(self):
        self.threads = set()

    def mask(self, text):
        self.threads.add(threading.get_ident())
        return text

    def mask_value(self, value):
        return value


async def test_what_is_large_is_masked_off_the_loop_where_it_is_served_and_compared():
    masker = Noting()
    rules = ReplayRules(on_divergence="report")
    recall, cell = recall_of(call("s0", "x/1", "x" * 100_000), masker=masker, rules=rules)
    await recall.copy(cell.children[0], Ledger(Budget()))
    cursor = Cursor(recall, Ledger(Budget()), Span("root", None), cell)
    assert await cursor.follows_code("y" * 100_000, "x" * 100_000)
    assert masker.threads
    assert threading.get_ident() not in masker.threads


async def test_an_identical_sub_call_elsewhere_gets_the_recorded_reply():
    recall, _ = recall_of()
    recall, cell = recall_of(call("s0", "x/1", "known", digest=recall.digest("call")))
    assert recall.known("call").span is None, "a record points at no span that it hasn't"
    await recall.copy(cell.children[0], Ledger(Budget()))
    answered = recall.known("call")
    assert (answered.reply.text, answered.span, answered.fresh) == ("known", "s0", False)
    assert recall.known("another call") is None


async def test_a_refusal_is_an_answer_and_a_cut_only_where_the_cell_has_ended():
    refused = event(Limit(name="token_budget", state="refused", message="no", key="x/1"), "c")
    cut = event(Limit(name="timeout_s", state="cut", message="late", key="y/1"), "c")
    recall, cell = recall_of(events=[refused, cut])
    with pytest.raises(TokenBudgetExhausted, match="no"):
        await answers_of(scope_of(recall, cell), "x/1")
    assert await answers_of(scope_of(recall, cell), "y/1") == (["made"], ["y/1"])
    cell.end = event(ExecEnd(status="ok", output_chars=0, duration_s=0.0), "c")
    with pytest.raises(TimeLimitReached, match="late"):
        await answers_of(scope_of(recall, cell), "y/1")


async def test_a_reply_that_came_too_late_for_its_cell_comes_too_late_again():
    sink = MemorySink()
    cut = event(Limit(name="timeout_s", state="cut", message="late", key="y/1"), "c")
    recall, cell = recall_of(call("s0", "y/1", "a reply"), sink=sink, events=[cut])
    cell.end = event(ExecEnd(status="ok", output_chars=0, duration_s=0.0), "c")
    with pytest.raises(TimeLimitReached, match="late"):
        await answers_of(scope_of(recall, cell), "y/1")
    assert [(each.type, each.served) for each in sink.events] == [
        ("model.start", True),
        ("model.end", True),
        ("limit", True),
    ]


async def test_a_refusal_that_is_served_stays_what_it_was():
    sink = MemorySink()
    cut = event(Limit(name="timeout_s", state="cut", message="late", key="y/1"), "c")
    recall, cell = recall_of(sink=sink, events=[cut])
    cell.end = event(ExecEnd(status="ok", output_chars=0, duration_s=0.0), "c")
    with pytest.raises(TimeLimitReached):
        await answers_of(scope_of(recall, cell), "y/1")
    assert [(each.body, each.served) for each in sink.events] == [(cut.body, True)]


def test_attempts_at_one_answer_are_one_sub_call():
    _, cell = recall_of(call("s0", "x/1", "bad", seq=1), call("s1", "x/1", "good", seq=2), call("s2", "y/1", "z"))
    spent = spent_by(cell, depth=0)
    assert (spent.usage.subcalls, spent.usage.model_calls, spent.cost_usd) == (2, 3, 1.5)


async def test_without_a_record_every_call_is_made():
    recall = Recall(Recorder("n" * 32, Nowhere()), b"salt")
    scope = Scope(recall, Ledger(Budget()), recall.recorder.root)
    assert await answers_of(scope, await scope.key("q", "a")) == (["made"], [f"{recall.digest('q', 'a')}/1"])
    assert (scope.known(["x"]), scope.last_kind("x"), scope.artifact("x")) == (set(), None, None)
