from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm.core.events import ToolStart
from rlm.core.exceptions import ConfigError
from rlm.core.record.recorder import Recorder
from rlm.trajectory.index.folder import Index
from rlm.trajectory.index.rows import RunQuery
from rlm.trajectory.writer import TrajectoryWriter
from tests.unit.trajectory.records import RUN, STEPS, end, events, write

TABLES = ("runs", "spans", "events", "problems")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    write(tmp_path)
    with Index.open(tmp_path) as index:
        index.refresh()
        yield index


def names(index: Index, parent: str | None) -> list[str]:
    return [span.name for span in index.spans(RUN, parent).rows]


def dump(index: Index) -> dict[str, list[Any]]:
    """All that is in an index, but for what the file system says of the files."""
    columns = (
        "run, id, read_bytes, status, turns, cells, model_calls, subcalls, tool_calls, input_tokens, errors, events"
    )
    chosen = {"runs": f"{columns}, skipped_lines, spans, spent_usd, prompt"}
    with sqlite3.connect(index.log_dir / "index.sqlite") as connection:
        found = {table: list(connection.execute(f"SELECT {chosen.get(table, '*')} FROM {table}")) for table in TABLES}
    connection.close()
    return found


def test_arguments_that_became_a_blob_are_shown_as_they_begin(tmp_path: Path) -> None:
    recorder = Recorder(RUN, TrajectoryWriter(tmp_path, RUN))
    recorder.record(recorder.root, ToolStart(name="many", arguments={"numbers": [*range(20_000)]}, caller="guest"))
    recorder.close()
    with Index.open(tmp_path) as index:
        index.refresh()
        [span] = index.steps(RUN, kinds=("tool",)).rows
    assert span.head.startswith('{"numbers":[0,1,2,')


def test_a_run_has_its_totals(index: Index) -> None:
    row = index.run("last")
    assert (row.id, row.status, row.model, row.environment, row.prompt) == (
        RUN,
        "completed",
        "demo/large",
        "local",
        "how many?",
    )
    assert (row.turns, row.cells, row.model_calls, row.subcalls, row.tool_calls, row.depth) == (2, 1, 4, 3, 1, 1)
    assert (row.tokens, row.cost_usd, row.duration_s, row.errors, row.warnings) == (60, 1.0, 1.5, 2, 1)
    assert (row.events, row.skipped_lines, row.torn_bytes, row.budget) == (len(STEPS), 0, 0, {"token_budget": 100})


def test_spans_are_a_tree_with_cumulative_totals(index: Index) -> None:
    [root] = index.spans(RUN).rows
    assert (root.kind, root.total_tokens, root.total_cost_usd, root.total_calls, root.total_errors) == (
        "completion",
        60,
        1.0,
        4,
        2,
    )
    assert names(index, "t1") == ["turn", "cell", "read_file"]
    cell = index.span(RUN, "c1")
    assert cell is not None
    assert (cell.status, cell.detail, cell.total_tokens, cell.tokens, cell.children, cell.level) == (
        "error",
        "KeyError: 'n'",
        45,
        0,
        3,
        2,
    )
    assert [span.id for span in index.path(RUN, "km")] == ["r", "t1", "c1", "k", "kt", "km"]


def test_siblings_fold_into_groups(index: Index) -> None:
    folded = index.groups(RUN, "c1").rows
    assert [(group.name, group.count, group.total_tokens, group.total_errors) for group in folded] == [
        ("llm_query", 2, 30, 1),
        ("rlm_query", 1, 15, 0),
    ]
    assert index.spans(RUN, "c1", kind="model", name="llm_query", offset=1).rows[0].head == "second part"


def test_events_are_found_and_read(index: Index) -> None:
    rows = index.events(RUN, "c1")
    assert [row.type for row in rows] == ["exec.start", "exec.output", "exec.end"]
    assert [event.type for event in index.read(RUN, rows)] == [row.type for row in rows]
    output = index.event(RUN, rows[1].seq)
    assert output is not None
    assert output.body.text == 'a "quoted"\nline'
    assert [row.seq for row in index.events(RUN, types=["warning"], after_seq=3)] == [24]


def test_problems_and_steps_lead_on(index: Index) -> None:
    assert [problem.span for problem in index.problems(RUN, severity="error").rows] == ["q2", "c1"]
    assert index.problems(RUN).rows[-1].message == "take care"
    assert [span.id for span in index.steps(RUN, kinds=["model"]).rows] == ["m1", "q1", "q2", "km"]


def test_columns_tell_the_same_as_rows(index: Index) -> None:
    line = index.timeline(RUN)
    spans = index.all_spans(RUN).rows
    assert [line.id_of(span.number) for span in spans] == [span.id for span in spans]
    assert list(line.tokens) == [span.total_tokens for span in spans]
    assert [line.labels[place] for place in line.label] == [span.name for span in spans]
    burn = index.burndown(RUN)
    assert (burn.tokens[-1], burn.cost_usd[-1], burn.subcalls[-1], burn.tool_calls[-1]) == (60, 1.0, 3, 1)


@settings(max_examples=25)
@given(st.data())
def test_read_in_any_pieces_it_is_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = write(tmp_path_factory.mktemp("whole")).read_bytes() + b"foreign\n"
    places = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    folder = tmp_path_factory.mktemp("pieces")
    (folder / f"{RUN}.jsonl").touch()  # where no records are, no index is begun
    with Index.open(folder) as index:
        for start, stop in zip([0, *places], [*places, len(content)], strict=True):
            with (folder / f"{RUN}.jsonl").open("ab") as file:
                file.write(content[start:stop])
            index.refresh()
        grown = dump(index)
        index.refresh(rebuild=True)
        assert dump(index) == grown


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_written_in_small_batches_it_is_the_same(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    whole = dump(index)
    monkeypatch.setattr("rlm.trajectory.index.scan.BATCH_EVENTS", limit)
    monkeypatch.setattr("rlm.trajectory.index.scan.BATCH_SPANS", 1)
    index.refresh(rebuild=True)
    assert dump(index) == whole


def test_nothing_new_changes_nothing(index: Index) -> None:
    assert index.refresh() == []


@pytest.mark.parametrize("change", ["shorter", "replaced", "rewritten"])
def test_another_file_is_read_anew(index: Index, tmp_path: Path, change: str) -> None:
    path = tmp_path / f"{RUN}.jsonl"
    content = path.read_bytes()
    other = {
        "shorter": content[:2000],
        "replaced": content.replace(b"how many?", b"how much??", 2) * 2,
        "rewritten": content.replace(b"how many?", b"how much?"),
    }
    if change == "replaced":
        path.unlink()
    path.write_bytes(other[change])
    os.utime(path, (1, 1))
    assert index.refresh() == [RUN]
    row = index.run(RUN)
    assert row.size_bytes == len(other[change])
    assert change == "shorter" or row.prompt.startswith("how much")


def test_a_run_whose_file_is_gone_is_forgotten(index: Index, tmp_path: Path) -> None:
    (tmp_path / f"{RUN}.jsonl").unlink()
    assert index.refresh() == [RUN]
    assert index.runs().total == 0


def test_hostile_lines_are_counted_and_overflow_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    huge = b'{"seq":1e99,"at":1,"run":"x","span":"r","parent":null,"type":"model.end","body":{"usage":%s}}\n'
    number = b'{"input_tokens":99999999999999999999999}'
    lines = [huge % number, b"[" * 9000 + b"\n", b"\xff\n", b'{"at":-1}\n', b"x" * 20_000_000 + b"\n", b'{"at": 1, "sp']
    with path.open("ab") as file:
        file.writelines(lines)
    with Index.open(tmp_path) as index:
        index.refresh()
        row = index.run(RUN)
    assert (row.events, row.skipped_lines, row.tokens, row.torn_bytes) == (len(STEPS) + 1, 4, 60, len(lines[-1]))


def test_a_link_is_no_record(tmp_path: Path) -> None:
    secret = write(tmp_path / "elsewhere")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / f"{RUN}.jsonl").symlink_to(secret)
    (logs / "index.sqlite").symlink_to(tmp_path / "target")
    with Index.open(logs) as index:
        index.refresh()
        assert (index.runs().total, index.kept) == (0, False)
    assert not (tmp_path / "target").exists()


def test_the_index_is_its_owners_only(index: Index, tmp_path: Path) -> None:
    assert index.kept
    assert (tmp_path / "index.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_index_is_made_again(tmp_path: Path, content: bytes) -> None:
    write(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(content)
    with Index.open(tmp_path) as index:
        index.refresh()
        assert (index.runs().total, index.kept) == (1, True)


def test_an_index_with_a_schema_of_others_is_made_again(tmp_path: Path) -> None:
    write(tmp_path)
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    connection.execute("CREATE VIEW runs AS SELECT 1 AS run, 'evil' AS id")
    connection.commit()
    connection.close()
    with Index.open(tmp_path) as index:
        index.refresh()
        assert [row.id for row in index.runs().rows] == [RUN]


def test_an_index_damaged_while_it_is_open_is_made_again(index: Index, tmp_path: Path) -> None:
    index.close()
    content = bytearray((tmp_path / "index.sqlite").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (tmp_path / "index.sqlite").write_bytes(content)
    with Index.open(tmp_path) as opened:
        opened.refresh()
        assert opened.run("last").tokens == 60


def test_a_folder_that_cannot_be_written_is_indexed_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)

    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("rlm.trajectory.index.database._prepare", refuse)
    with Index.open(tmp_path) as index:
        index.refresh()
        assert (index.kept, index.runs().total) == (False, 1)
        assert index.note.endswith("Permission denied")


def test_a_full_disk_moves_the_index_to_memory(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(connection: sqlite3.Connection, *_rest: object, **_more: object) -> bool:
        monkeypatch.undo()
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("rlm.trajectory.index.folder.refresh_run", full)
    index.refresh(rebuild=True)
    assert (index.kept, index.note.endswith("disk is full"), index.run("last").tokens) == (False, True, 60)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("rlm.trajectory.reader.os.scandir", refuse)
    with pytest.raises(ConfigError, match="Permission denied"):
        Index.open(tmp_path)


@pytest.mark.parametrize("name", ["../" + RUN, "..", "/etc/passwd", "zz", "%", "a_"])
def test_no_other_name_leads_to_a_run(index: Index, name: str) -> None:
    with pytest.raises(ConfigError, match="no run in"):
        index.run(name)
    assert list(index.read(name, index.events(RUN))) == []


def test_several_processes_take_each_line_in_once(tmp_path: Path) -> None:
    for number in range(4):
        run = f"{number:032x}"
        write(tmp_path, events(STEPS * 20, run=run), run)
    code = (
        "import sys, pathlib; from rlm.trajectory.index.folder import Index; "
        "Index.open(pathlib.Path(sys.argv[1])).refresh()"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    with Index.open(tmp_path) as index:
        assert index.refresh() == []
        assert {row.events for row in index.runs().rows} == {len(STEPS) * 20}


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Index]:
    for number, status in enumerate(["completed", "failed", "limit"]):
        run = f"{number:032x}"
        steps = [*STEPS[:-1], ("r", None, end(status, "Boom: STRAẞE" if status == "failed" else None))]
        write(tmp_path, events(steps[: 24 + number] + steps[-1:], run=run, at=1000.0 * number), run)
    with Index.open(tmp_path) as index:
        index.refresh()
        yield index


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (RunQuery(), [2, 1, 0]),
        (RunQuery(ascending=True, limit=2), [0, 1]),
        (RunQuery(status=("failed", "limit")), [2, 1]),
        (RunQuery(model="LARGE", environment="local"), [2, 1, 0]),
        (RunQuery(text="strasse"), [1]),
        (RunQuery(text="%"), []),
        (RunQuery(since=1000.0, until=2000.0), [1]),
        (RunQuery(min_tokens=61), []),
        (RunQuery(min_cost_usd=0.9, max_cost_usd=1.1, max_duration_s=2.0), [2, 1, 0]),
        (RunQuery(order="errors"), [1, 2, 0]),
        (RunQuery(offset=2), [0]),
    ],
)
def test_runs_are_filtered_and_ordered(several: Index, query: RunQuery, found: list[int]) -> None:
    assert [int(row.id, 16) for row in several.runs(query).rows] == found


def test_an_unknown_price_is_no_price(tmp_path: Path) -> None:
    steps = [*STEPS[:10], ("q1", "c1", STEPS[10][2].__class__(text="", usage=STEPS[6][2].usage))]
    write(tmp_path, events(steps))
    with Index.open(tmp_path) as index:
        index.refresh()
        row = index.run("last")
    assert (row.cost_usd, row.status, row.tokens) == (None, "crashed", 30)
