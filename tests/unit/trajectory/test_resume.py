"""Records as a run is resumed from: what fits together of them, and what is refused."""

import fcntl

import pytest

from rlm.core.events import (
    Event,
    ExecEnd,
    ExecStart,
    Limit,
    MessageAdded,
    ModelEnd,
    ModelStart,
    RunStart,
    TurnStart,
    encode,
)
from rlm.core.exceptions import ConfigError
from rlm.repl.guest.wire import decode_value
from rlm.trajectory.resume import is_raised, read_line

RUN = "a" * 32
START = RunStart(version=1, rlm_version="1", model="m", sub_model="m", environment="local", budget={"max_turns": 3})
CALL = ModelStart(model="m", purpose="turn", max_output_tokens=9, input_tokens_estimate=5, key="turn")


def write(folder, *events, run=RUN):
    lines = [
        encode(Event(seq=seq, at=float(seq), run=run, span=span, parent=parent, type=body.TYPE, body=body))
        for seq, (span, parent, body) in enumerate(events)
    ]
    (folder / f"{run}.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def read(folder, run=RUN):
    return read_line(folder, run, decode_value)


def turn(number, span="t"):
    return (span, "root", TurnStart(turn=number))


def test_messages_and_limits_are_with_the_turn_after_whose_start_they_came(tmp_path):
    said = ("root", None, MessageAdded(role="user", content="x"))
    write(
        tmp_path, ("root", None, START), said, turn(1), said, ("root", None, Limit(name="a", state="near", message=""))
    )
    root = read(tmp_path).record({}).root
    assert [event.type for event in root.events] == ["message"]
    assert [event.type for event in root.of("turn")[0].events] == ["message", "limit"]


def test_spans_without_a_parent_and_foreign_events_are_left_out(tmp_path):
    write(tmp_path, ("root", None, START), turn(1), ("m", "nowhere", CALL), ("e", "e", ExecStart(cell=1, code="")))
    root = read(tmp_path).record({}).root
    assert [span.kind for span in root.spans()] == ["completion", "turn"]


def test_spans_are_not_nested_without_end(tmp_path):
    deep = [(f"t{n + 1}", f"t{n}", TurnStart(turn=n)) for n in range(3_000)]
    write(tmp_path, ("t0", None, START), *deep)
    assert len(list(read(tmp_path).record({}).root.spans())) == 201


def test_a_run_and_the_one_it_resumed_are_laid_over_each_other(tmp_path):
    later = "b" * 32
    killed = ExecEnd(status="killed", output_chars=0, duration_s=0.0)
    done = ExecEnd(status="ok", output_chars=0, duration_s=1.0)
    cell = ("e", "t", ExecStart(cell=1, code="x"))
    write(
        tmp_path,
        ("root", None, START),
        turn(1),
        ("m", "t", CALL),
        ("m", "t", ModelEnd(text="r")),
        cell,
        ("e", "t", killed),
    )
    resumed = RunStart(**{name: getattr(START, name) for name in START.__struct_fields__} | {"resumed_from": RUN})
    write(tmp_path, ("root", None, resumed), turn(1), cell, ("e", "t", done), run=later)
    (merged,) = read(tmp_path, later).record({}).root.of("turn")
    assert [(span.id, span.has_ended) for span in merged.children] == [("m", True), ("e", True)]


def test_a_reached_limit_counts_as_long_as_its_cap_is_no_higher(tmp_path):
    write(tmp_path, ("root", None, START), ("root", None, Limit(name="max_turns", state="reached", message="no")))
    assert len(read(tmp_path).record({"max_turns": 3}).root.events) == 1
    assert read(tmp_path).record({"max_turns": 4}).root.events == []
    assert is_raised("max_turns", {"max_turns": 3}, {"max_turns": None})


def test_a_living_run_is_refused(tmp_path):
    write(tmp_path, ("root", None, START))
    with (tmp_path / f"{RUN}.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="still being written"):
            read(tmp_path)


def test_a_newer_format_and_a_record_that_is_gone_are_refused(tmp_path):
    fields = {name: getattr(START, name) for name in START.__struct_fields__}
    write(tmp_path, ("root", None, RunStart(**fields | {"version": 99})))
    with pytest.raises(ConfigError, match="version 99"):
        read(tmp_path)
    write(tmp_path, ("root", None, RunStart(**fields | {"resumed_from": "c" * 32})))
    with pytest.raises(ConfigError, match="is gone from"):
        read(tmp_path)
    write(tmp_path, ("root", None, RunStart(**fields | {"resumed_from": "../../etc/passwd"})))
    with pytest.raises(ConfigError, match="is gone from"):
        read(tmp_path)


def test_an_empty_file_is_no_run(tmp_path):
    (tmp_path / f"{RUN}.jsonl").write_bytes(b"")
    with pytest.raises(ConfigError, match="begin with run.start"):
        read(tmp_path)
