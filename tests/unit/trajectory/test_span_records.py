"""Spans with their events, as `rlm logs show` draws them."""

from __future__ import annotations

from pathlib import Path

from rlm.core.events import Body, Event, ExecOutput, ExecStart
from rlm.trajectory.index.folder import Index
from rlm.trajectory.span_records import SpanRecord, span_records
from tests.unit.trajectory.records import RUN, START, STEPS, begin, events, write


def records_of(log_dir: Path, made: list[Event], *later: Event) -> list[SpanRecord]:
    write(log_dir, made)
    with Index.open(log_dir) as index:
        index.refresh()
        return span_records(index.all_spans(RUN).rows, [*index.trajectory(RUN), *later])


def test_spans_are_a_tree_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    records = records_of(tmp_path, events())
    assert [(record.state.id, record.kind, record.parent) for record in records[:4]] == [
        ("r", "completion", None),
        ("t1", "turn", "r"),
        ("m1", "model", "t1"),
        ("c1", "exec", "t1"),
    ]
    turn = records[0].children[0]
    assert [child.state.id for child in turn.children] == ["m1", "c1", "o"]
    cell = turn.children[1]
    assert cell.start is not None
    assert cell.end is not None
    assert [event.type for event in cell.events] == ["exec.output"]


def test_spans_that_name_themselves_or_nobody_make_no_loop(tmp_path: Path) -> None:
    steps: list[tuple[str, str | None, Body]] = [("a", "a", begin()), ("b", "lost", ExecStart(cell=1, code=""))]
    records = records_of(tmp_path, events(steps))
    assert [(record.parent, record.state.parent, record.children) for record in records] == [
        ("a", None, []),
        ("lost", None, []),
    ]


def test_a_kind_that_is_not_known_is_called_as_its_events_are(tmp_path: Path) -> None:
    steps: list[tuple[str, str | None, Body]] = [("r", None, START), ("c", "r", ExecOutput(text="x"))]
    strange = Event(seq=2, at=102.0, run=RUN, span="d", parent="r", type="dream.start", body={})
    records = records_of(tmp_path, [*events(steps), strange])
    assert [record.kind for record in records] == ["run", "exec", "dream"]


def test_events_that_came_after_the_spans_were_read_are_left_out(tmp_path: Path) -> None:
    later = events([("new", "r", begin(1))])
    assert [record.state.id for record in records_of(tmp_path, events(STEPS[:5]), *later)] == ["r", "t1"]
