"""Keys, and what a place serves of the record: by what was asked, not by when."""

from rlm.core.budget import Budget, Ledger
from rlm.core.events import Event, Limit, ModelEnd, ModelStart
from rlm.core.record.recorder import Recorder, Span
from rlm.core.replay.record import Record, Recorded, spent_by
from rlm.core.replay.serving import Place, Recall, ReplayRules
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


def call(span, key, text, *, digest=None, seq=0):
    start = ModelStart(
        model="m", purpose="llm_query", max_output_tokens=9, input_tokens_estimate=5, key=key, digest=digest
    )
    end = ModelEnd(text=text, usage=TokenUsage(input_tokens=7, output_tokens=2), finish="stop", cost_usd=0.5)
    return Recorded(id=span, parent="c", kind="model", start=event(start, span, seq), end=event(end, span, seq))


def recall_of(*calls, sink=None, masked=False, events=()):
    cell = Recorded(id="c", parent="t", kind="exec", events=list(events), children=list(calls))
    recorder = Recorder("n" * 32, Nowhere(), [sink] if sink else [])
    record = Record(run_id="r" * 32, root=cell, source=Plain(), masked=masked)
    return Recall(recorder, b"salt", record, ReplayRules()), cell


def place_of(recall, cell, **how):
    return Place(recall, Span("c", "t"), cell, **how)


def test_the_same_question_has_a_number_and_another_salt_other_keys():
    recall, cell = recall_of()
    place = place_of(recall, cell)
    first, second, other = place.key("q", "a"), place.key("q", "a"), place.key("q", "b")
    assert first.partition("/")[0] == second.partition("/")[0] != other.partition("/")[0]
    assert [key.partition("/")[2] for key in (first, second, other)] == ["1", "2", "1"]
    assert Recall(recall.recorder, b"pepper").digest("q", "a") not in first


def test_replies_are_found_whatever_the_order_of_asking():
    recall, _ = recall_of()
    keys = [f"{recall.digest('q', text)}/1" for text in "abc"]
    recall, cell = recall_of(*(call(f"s{n}", key, f"reply {n}") for n, key in enumerate(keys)))
    place = place_of(recall, cell)
    found = [place.next(place.key("q", text), "model").end.body.text for text in "cab"]
    assert found == ["reply 2", "reply 0", "reply 1"]
    assert place.next(keys[0], "model") is None, "each is given once"


def test_without_the_salt_calls_are_known_by_their_place():
    recall, cell = recall_of(call("s0", "x/1", "first"), call("s1", "y/1", "second"), masked=True)
    place = place_of(recall, cell)
    found = [place.next(place.key("llm_query", text), "model").end.body.text for text in ("whatever", "else")]
    assert found == ["first", "second"]


def test_what_is_served_is_recorded_again_and_counted():
    sink, ledger = MemorySink(), Ledger(Budget())
    recall, cell = recall_of(call("s0", "x/1", "first"), sink=sink)
    recall.copy(cell.children[0], ledger)
    assert [(each.type, each.served, each.span) for each in sink.events] == [
        ("model.start", True, "s0"),
        ("model.end", True, "s0"),
    ]
    assert (ledger.usage(), ledger.cost_usd) == (RunUsage(input_tokens=7, output_tokens=2, model_calls=1), 0.5)


def test_an_identical_sub_call_elsewhere_gets_the_recorded_reply():
    recall, _ = recall_of()
    recall, _ = recall_of(call("s0", "x/1", "known", digest=recall.digest("call")))
    answered = recall.known("call")
    assert (answered.reply.text, answered.span, answered.fresh) == ("known", "s0", False)
    assert recall.known("another call") is None


def test_a_refusal_is_an_outcome_and_a_cut_only_where_the_cell_has_ended():
    refused = event(Limit(name="token_budget", state="refused", message="no", key="x/1"), "c")
    cut = event(Limit(name="", state="cut", message="", key="y/1"), "c")
    recall, cell = recall_of(events=[refused, cut])
    sealed = place_of(recall, cell, stray=lambda asked: None)
    assert [bool(sealed.outcome(key)) for key in ("x/1", "y/1")] == [True, True]
    assert [bool(place_of(recall, cell).outcome(key)) for key in ("x/1", "y/1")] == [True, False]


def test_attempts_at_one_answer_are_one_sub_call():
    _, cell = recall_of(call("s0", "x/1", "bad", seq=1), call("s1", "x/1", "good", seq=2), call("s2", "y/1", "z"))
    spent = spent_by(cell, depth=0)
    assert (spent.usage.subcalls, spent.usage.model_calls, spent.cost_usd) == (2, 3, 1.5)
