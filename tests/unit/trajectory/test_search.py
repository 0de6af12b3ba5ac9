from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm import RLM
from rlm.backends.scripted import ScriptedBackend
from rlm.core.config import Config
from rlm.core.events import MessageAdded, ToolEnd
from rlm.core.exceptions import ConfigError
from rlm.core.record.recorder import Recorder
from rlm.trajectory.index.folder import Index
from rlm.trajectory.search import each_once, search
from rlm.trajectory.writer import TrajectoryWriter
from tests.unit.trajectory.records import RUN, STEPS, events, write


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    write(tmp_path)
    with Index.open(tmp_path) as index:
        index.refresh()
        yield index


def found(index: Index, text: str) -> list[tuple[int, str]]:
    return [(hit.seq, hit.field) for hit in search(index, text)]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("first part", [(8, "prompt")]),
        ("FIRST part", []),
        ("größe", [(7, "code")]),
        ("Größe", [(7, "code")]),
        ("GRÖẞE", []),
        ('"quoted"\nline', [(18, "text")]),
        ("execute_code", [(6, "tool_calls.0.name")]),
        ("a.txt", [(20, "arguments.path")]),
        ("model.start", []),
        ("prompt", []),
        ("keyerror", [(19, "error.kind")]),
    ],
)
def test_a_text_is_found_in_its_field(index: Index, text: str, places: list[tuple[int, str]]) -> None:
    assert found(index, text) == places


def test_a_hit_shows_where(index: Index) -> None:
    [hit] = search(index, "first", RUN[:4])
    assert (hit.run_id, hit.span, hit.type) == (RUN, "q1", "model.start")
    assert hit.excerpt[hit.start : hit.start + hit.length] == "first"


def test_a_text_with_other_line_ends_is_found(tmp_path: Path) -> None:
    write(tmp_path, events([*STEPS[:2], ("r", None, MessageAdded(role="user", content="one\u2028two"))]))
    with Index.open(tmp_path) as index:
        index.refresh()
        assert search(index, "e\u2028t")


def test_a_search_stops_at_its_limit(index: Index) -> None:
    assert len(search(index, "e", limit=3)) == 3


@pytest.mark.parametrize("text", ["", "x" * 1001])
def test_nothing_to_look_for_is_refused(index: Index, text: str) -> None:
    with pytest.raises(ConfigError, match="characters"):
        search(index, text)


def test_texts_in_blobs_are_found_and_links_are_not_followed(tmp_path: Path) -> None:
    recorder = Recorder(RUN, TrajectoryWriter(tmp_path, RUN))
    recorder.record(recorder.root, MessageAdded(role="user", content="x" * 70_000 + " Nadel im Heu " + "y" * 70_000))
    recorder.close()
    with Index.open(tmp_path) as index:
        index.refresh()
        [hit] = search(index, "nadel im")
        assert (hit.field, hit.excerpt[hit.start : hit.start + hit.length]) == ("content", "Nadel im")
        [blob] = (tmp_path / f"{RUN}.blobs").iterdir()
        blob.rename(tmp_path / "elsewhere")
        blob.symlink_to(tmp_path / "elsewhere")
        assert search(index, "nadel im") == []


def test_texts_in_values_that_became_blobs_are_found(tmp_path: Path) -> None:
    recorder = Recorder(RUN, TrajectoryWriter(tmp_path, RUN))
    recorder.record(recorder.root, ToolEnd(result=[*range(20_000), 'a "quoted"\nline']))
    recorder.close()
    with Index.open(tmp_path) as index:
        index.refresh()
        assert found(index, '"quoted"\nline') == [(0, "result.20000")]


@pytest.mark.parametrize("block_bytes", [64, 1000])
def test_texts_across_blocks_are_found(index: Index, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr("rlm.trajectory.search.BLOCK_BYTES", block_bytes)
    assert found(index, "second part") == [(9, "prompt")]


def test_foreign_and_overlong_lines_hide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, events(STEPS[:9]))
    monkeypatch.setattr("rlm.trajectory.search.LINE_BYTES", 5_000)
    monkeypatch.setattr("rlm.trajectory.search.BLOCK_BYTES", 1_000)
    path.write_bytes(b"first part\n" + b"first part" * 2_000 + b"\n" + path.read_bytes())
    with Index.open(tmp_path) as index:
        index.refresh()
        assert found(index, "first part") == [(8, "prompt")]


def test_what_events_of_one_turn_repeat_is_shown_once(tmp_path: Path) -> None:
    for name, script in {
        "one": ["print('the answer')\nFINAL('the answer')"],
        "two": ["print('the answer')"] * 2,
    }.items():
        replies = [f"```repl\n{code}\n```" for code in script]
        with RLM(ScriptedBackend(replies), config=Config(log_dir=str(tmp_path / name))) as rlm:
            rlm.completion("?")
    shown = {}
    for name in ("one", "two"):
        with Index.open(tmp_path / name) as index:
            index.refresh()
            hits = search(index, "the answer")
            shown[name] = [(hit.type, hit.field) for hit in each_once(index, hits)]
            assert len(hits) > len(shown[name])
    assert shown["one"][1:] == [("model.end", "text"), ("exec.output", "text")]
    assert shown["two"].count(("exec.output", "text")) == 2
