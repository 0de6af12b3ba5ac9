"""The fold of a run's events: the same for a live view and for the index, whatever the record says."""

from __future__ import annotations

import msgspec
import pytest

from rlm.core.events import (
    Body,
    CompletionEnd,
    Controlled,
    Event,
    ExecStart,
    ModelEnd,
    ToolStart,
    TurnStart,
    decode,
    encode,
)
from rlm.core.notes import ContextNote
from rlm.core.types import RunUsage, TokenUsage
from rlm.trajectory.fold import LiveRun, RunFold
from rlm.trajectory.index.folder import Index
from rlm.trajectory.index.rows import RunQuery
from rlm.trajectory.states import RunState, SpanState
from tests.unit.trajectory.records import RUN, STEPS, answer, ask, begin, end, events, write

OF_THE_FILE = {"skipped_lines", "size_bytes", "read_bytes", "inode", "mtime_ns", "guard"}
HUGE = 10**30


def folded(*steps: tuple[str, str | None, Body]) -> RunState:
    """A run as a live view sees it."""
    live = LiveRun()
    for event in events(steps):
        live.add(event)
    return live.state


def spans_of(*steps: tuple[str, str | None, Body]) -> dict[str, SpanState]:
    fold = RunFold(RunState(RUN))
    for event in events(steps):
        fold.add(event, event.body, event.seq)
    return {span.id: span for span in fold.spans.values()}


@pytest.mark.parametrize("count", [1, 5, 11, len(STEPS)])
def test_a_live_view_and_the_index_see_the_same_run(tmp_path, count: int) -> None:
    write(tmp_path, events(STEPS[:count]))
    with Index.open(tmp_path) as index:
        index.refresh()
        kept = msgspec.structs.asdict(index.run("last"))
    live = msgspec.structs.asdict(folded(*STEPS[:count]))
    if kept["status"] == "crashed":  # the file tells that nobody writes it any more
        live["status"] = "crashed"
    assert {name: live[name] for name in live.keys() - OF_THE_FILE} == {
        name: kept[name] for name in kept.keys() - OF_THE_FILE
    }


def test_states_come_out_of_the_index_as_they_were_folded(tmp_path) -> None:
    write(tmp_path)
    with Index.open(tmp_path) as index:
        index.refresh()
        kept = {span.id: span for span in index.all_spans(RUN).rows}
    fold = RunFold(RunState(RUN))
    for event in events():
        fold.add(event, event.body, event.seq)
    fold.settle(lambda number: fold.spans[number])
    assert kept == {span.id: span for span in fold.spans.values()}


def test_sub_calls_under_way_are_those_that_have_not_ended() -> None:
    steps = [("r", None, begin()), ("a", "r", ask("llm_query")), ("b", "r", ask("llm_query")), ("k", "r", begin(1))]
    assert folded(*steps).open_subcalls == 3
    ended = [("a", "r", answer()), ("a", "r", answer()), ("k", "r", end()), ("m", "r", ask()), ("m", "r", answer())]
    assert folded(*steps, *ended).open_subcalls == 1
    assert folded(*steps, ("r", None, end())).open_subcalls == 0


def test_a_live_view_keeps_no_span_that_has_ended() -> None:
    live = LiveRun()
    for event in events():
        live.add(event)
    assert (live._fold.spans, live._fold.problems) == ({}, [])


def test_a_childs_end_is_not_the_runs() -> None:
    assert not folded(("r", None, begin()), ("k", "r", end())).has_ended


def test_a_run_without_an_end_has_lasted_up_to_its_last_event() -> None:
    state = folded(*STEPS[:7])
    assert (state.status, state.duration_s, state.tokens, state.cost_usd) == ("running", 6.0, 15, 0.25)


@pytest.mark.parametrize("number", [-1, HUGE])
def test_a_number_that_cannot_be_true_counts_for_nothing(number: int) -> None:
    usage = TokenUsage(input_tokens=number, output_tokens=5)
    last = CompletionEnd(status="completed", response="", duration_s=number, usage=RunUsage())
    state = folded(("m", "r", ModelEnd(usage=usage, cost_usd=number)), ("r", None, last))
    assert (state.tokens, state.cost_usd, state.duration_s) == (5, 0.0, 0.0)
    assert spans_of(("t", None, TurnStart(turn=number)))["t"].ordinal == 0


def test_a_body_that_does_not_fit_its_type_counts_for_nothing() -> None:
    line = encode(events([("m", None, answer())])[0]).replace(b'"input_tokens":10', b'"input_tokens":"ten"')
    event = decode(line)
    fold = RunFold(RunState(RUN))
    fold.add(event, event.body, 0)
    [span] = fold.spans.values()
    assert (fold.run.tokens, fold.run.model_calls, span.kind, span.name, span.status) == (0, 0, "other", "model", "ok")


def test_spans_that_name_themselves_or_nobody_are_roots() -> None:
    found = spans_of(("a", "a", begin()), ("b", "lost", ask()))
    assert [(span.id, span.parent, span.parent_number) for span in found.values()] == [("a", None, -1), ("b", None, -1)]


@pytest.mark.parametrize(("arguments", "head"), [({"path": "a"}, '{"path":"a"}'), ('{"cut', '{"cut'), (None, "null")])
def test_arguments_are_shown_as_json_as_they_begin(arguments: object, head: str) -> None:
    start = ToolStart(name="t", arguments=arguments, caller="model")  # type: ignore[arg-type]
    assert spans_of(("o", None, start))["o"].head == head


def test_a_model_call_says_where_its_reply_is_from() -> None:
    call = [("m", None, ask()), ("m", None, ModelEnd(text="x", cached=True))]
    assert spans_of(*call)["m"].answered_from == "memory"
    fold = RunFold(RunState(RUN))
    for event in events([("m", None, ask()), ("m", None, answer())]):
        served = msgspec.structs.replace(event, served=True)
        fold.add(served, served.body, served.seq)
    [span] = fold.spans.values()
    assert (span.cached, span.served, fold.run.tokens, fold.run.served_tokens) == (True, True, 0, 15)


def test_an_event_of_an_unknown_type_is_in_its_span() -> None:
    fold = RunFold(RunState(RUN))
    strange = Event(seq=0, at=1.0, run=RUN, span="s", parent=None, type="dream.end", body={"a": 1})
    fold.add(strange, strange.body, 0)
    [span] = fold.spans.values()
    assert (span.kind, span.name, span.status, span.ended_at) == ("other", "dream", "ok", 1.0)


def test_a_session_is_called_by_what_it_loaded_and_its_first_cell(tmp_path) -> None:
    loaded = ContextNote(kind="files", size_bytes=1_234, sources=["a.txt", "b.txt"])
    opened = msgspec.structs.replace(begin(), context=loaded, prompt="(a session)")
    cells = [("c1", "r", ExecStart(cell=1, code="len(context)")), ("c2", "r", ExecStart(cell=2, code="2"))]
    write(tmp_path, events([("r", None, opened), *cells]))
    with Index.open(tmp_path) as index:
        index.refresh()
        run = index.run(RUN)
        assert run.title == "session over files of 1,234 bytes from a.txt and 1 more: len(context)"
        assert index.runs(RunQuery(text="LEN(context")).total == 1


def test_a_run_of_turns_is_called_by_its_prompt() -> None:
    run = RunState(RUN)
    fold = RunFold(run)
    for event in events([*STEPS, ("last", "r", ExecStart(cell=9, code="in no turn"))]):
        fold.add(event, event.body, event.seq)
    assert run.title == "how many?"


def test_acts_on_a_run_are_in_its_state() -> None:
    root = STEPS[0][0]
    acts = [
        Controlled(action="pause", who="ann", why="lunch"),
        Controlled(action="set", who="bob", cap="max_turns", value=7, before=30),
        Controlled(action="resume", who="ann"),
    ]
    paused = folded(*STEPS[:1], *((root, None, act) for act in acts[:2]))
    assert (paused.paused_by, paused.is_paused, paused.budget["max_turns"], paused.warnings) == ("ann", True, 7, 2)
    assert not folded(*STEPS[:1], *((root, None, act) for act in acts)).is_paused
