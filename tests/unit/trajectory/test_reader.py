from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm.core.events import (
    Body,
    CompletionEnd,
    CompletionStart,
    Event,
    ExecStart,
    ModelEnd,
    ModelStart,
    RunStart,
    TurnStart,
    encode,
)
from rlm.core.exceptions import ConfigError
from rlm.core.notes import ContextNote
from rlm.core.types import RunUsage, TokenUsage
from rlm.trajectory.reader import Trajectory, find_run, list_runs

RUN = "ab" * 16
USAGE = RunUsage(input_tokens=10, output_tokens=5, turns=1)
START = RunStart(version=1, rlm_version="0", model="demo", sub_model="demo", environment="local", budget={})
BEGIN = CompletionStart(depth=0, prompt="how many?", model="demo", dialect="tools", context=ContextNote(kind="none"))
END = CompletionEnd(status="completed", response="3", duration_s=1.5, usage=USAGE, cost_usd=0.25)
CALL = ModelEnd(text="x", usage=TokenUsage(input_tokens=10, output_tokens=5))


def line(body: Body, span: str = "r", parent: str | None = None, at: float = 100.0) -> bytes:
    return encode(Event(seq=0, at=at, run=RUN, span=span, parent=parent, type=body.TYPE, body=body)) + b"\n"


WHOLE = (
    line(START)
    + line(BEGIN)
    + line(TurnStart(turn=1), "t", "r")
    + line(ModelStart(model="demo", purpose="turn", max_output_tokens=9, input_tokens_estimate=9), "m", "t")
    + line(CALL, "m", "t", at=101.0)
    + line(END, at=102.0)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / f"{RUN}.jsonl"


def read(path: Path, content: bytes) -> tuple[list[str], int]:
    path.write_bytes(content)
    run = Trajectory(path)
    return [event.type for event in run], run.skipped


def test_a_whole_log_is_read_in_order(path: Path) -> None:
    types, skipped = read(path, WHOLE)
    assert types == ["run.start", "completion.start", "turn.start", "model.start", "model.end", "completion.end"]
    assert skipped == 0


def test_every_cut_of_a_log_is_read_up_to_the_torn_line(path: Path) -> None:
    for size in range(0, len(WHOLE), 7):
        types, skipped = read(path, WHOLE[:size])
        assert len(types) in (WHOLE[:size].count(b"\n"), WHOLE[:size].count(b"\n") + 1)
        assert skipped == 0


@pytest.mark.parametrize(
    "foreign", [b"{}\n", b"hello\n", b"\xff\xfe\n", b"[" * 10_000 + b"\n", b"null\n", b'{"seq":"x"}\n']
)
def test_foreign_lines_are_passed_over_and_counted(path: Path, foreign: bytes) -> None:
    types, skipped = read(path, line(START) + foreign + b"\n" + line(END))
    assert (types, skipped) == (["run.start", "completion.end"], 1)


def test_an_unknown_type_is_an_event(path: Path) -> None:
    types, _ = read(path, line(START).replace(b"run.start", b"run.dream"))
    assert types == ["run.dream"]


def test_a_line_without_end_takes_no_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.trajectory.reader.LINE_BYTES", 1000)
    assert read(path, line(START) + b"x" * 5000 + b"\n" + line(END)) == (["run.start", "completion.end"], 1)


@pytest.fixture
def writer(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    os.close(fd)


def test_a_log_is_running_while_its_writer_holds_it(path: Path, writer: int) -> None:
    assert Trajectory(path).is_running()
    fcntl.flock(writer, fcntl.LOCK_UN)
    assert not Trajectory(path).is_running()


def test_following_gives_each_event_as_it_is_written_and_stops_at_the_end(path: Path, writer: int) -> None:
    pieces = [WHOLE[start : start + 100] for start in range(0, len(WHOLE), 100)]
    waits = iter(pieces)
    events = Trajectory(path).follow(wait=lambda _: os.write(writer, next(waits)) and None)
    assert [event.type for event in events][-1] == "completion.end"
    assert next(waits, None) is None


def test_following_stops_when_the_writer_dies(path: Path, writer: int) -> None:
    os.write(writer, line(START) + line(BEGIN)[:-20])

    def die(_seconds: float) -> None:
        fcntl.flock(writer, fcntl.LOCK_UN)

    assert [event.type for event in Trajectory(path).follow(wait=die)] == ["run.start"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for age, run_id in enumerate(("aa11", "aa22", "bb33")):
        (tmp_path / f"{run_id}.jsonl").write_bytes(WHOLE)
        os.utime(tmp_path / f"{run_id}.jsonl", (1000 - age, 1000 - age))
    return tmp_path


def test_runs_are_found_by_prefix_and_as_last(folder: Path) -> None:
    assert find_run(folder, "bb").run_id == "bb33"
    assert find_run(folder, "AA2").run_id == "aa22"
    assert find_run(folder, "last").run_id == "aa11"
    assert [run.run_id for run in list_runs(folder)] == ["aa11", "aa22", "bb33"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("aa", "2 runs begin with 'aa': aa11, aa22"), ("cc", "no run in"), ("../bb33", "no run in"), ("", "3 runs begin")],
)
def test_a_name_that_means_no_run_or_several_is_refused(folder: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        find_run(folder, name)


def test_no_folder_and_strange_files_are_no_runs(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "cc44.jsonl")
    (folder / "notes.jsonl").write_text("")
    (folder / "dd55.jsonl").symlink_to("missing")
    assert [run.run_id for run in list_runs(folder)] == ["aa11", "aa22", "bb33"]
    assert list_runs(tmp_path / "missing") == []


def blobbed(path: Path, place: str, digest: str) -> Trajectory:
    event = {"seq": 0, "at": 1.0, "run": RUN, "span": "s", "parent": None, "type": "exec.start"}
    event |= {"body": {"cell": 1, "code": "x"}, "blobs": {place: {"digest": digest, "chars": 4}}}
    path.write_text(json.dumps(event) + "\n")
    return Trajectory(path)


def test_a_cut_text_is_made_whole_from_its_blob(path: Path) -> None:
    digest = hashlib.sha256(b"x = 1").hexdigest()
    path.with_suffix(".blobs").mkdir()
    (path.with_suffix(".blobs") / digest).write_bytes(b"x = 1")
    run = blobbed(path, "code", digest)
    [event] = map(run.whole, run)
    assert event.body == ExecStart(cell=1, code="x = 1")


@pytest.mark.parametrize("place", ["code", "cell", "code.0", "none", "", "cell.9.x"])
@pytest.mark.parametrize("digest", ["../" * 5 + "etc/passwd", "0" * 64, ""])
def test_a_blob_that_is_not_there_changes_nothing(path: Path, place: str, digest: str) -> None:
    run = blobbed(path, place, digest)
    [event] = map(run.whole, run)
    assert event.body == ExecStart(cell=1, code="x")


@pytest.mark.parametrize("place", ["cell", "code.0", "none", "", "cell.9.x"])
def test_a_blob_for_no_text_changes_nothing(path: Path, place: str) -> None:
    digest = hashlib.sha256(b"evil").hexdigest()
    path.with_suffix(".blobs").mkdir()
    (path.with_suffix(".blobs") / digest).write_bytes(b"evil")
    run = blobbed(path, place, digest)
    [event] = map(run.whole, run)
    assert event.body == ExecStart(cell=1, code="x")


def test_a_link_in_place_of_a_blob_shows_no_other_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("private")
    path.with_suffix(".blobs").mkdir()
    (path.with_suffix(".blobs") / ("0" * 64)).symlink_to(tmp_path / "key")
    run = blobbed(path, "code", "0" * 64)
    [event] = map(run.whole, run)
    assert event.body == ExecStart(cell=1, code="x")
