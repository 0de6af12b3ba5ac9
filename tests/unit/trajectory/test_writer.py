"""Where a record may be written, and what is left where it can't be."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlm.core.events import Body, ExecOutput, MessageAdded, Warned
from rlm.core.exceptions import RecordError, ToolError
from rlm.core.record.recorder import Recorder
from rlm.repl.guest.wire import encode_value
from rlm.secrets import masker
from rlm.trajectory import receipts
from rlm.trajectory.artifacts import Artifacts
from rlm.trajectory.exact import ExactFile, exact_path
from rlm.trajectory.reader import Trajectory
from rlm.trajectory.writer import TrajectoryWriter

RUN = "ab" * 16
SECRET = "sk-proj-T3stKq8ZpL0vXw7YbN2mR9dF4gH6jKq8ZpL0vXw7Yb "


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside the working directory."""
    for name in ("project", "outside"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "outside"


@pytest.mark.parametrize("log_dir", ["logs", "logs/deeper", "./logs"])
def test_a_link_does_not_lead_a_record_out_of_the_working_directory(outside: Path, log_dir: str) -> None:
    Path("logs").symlink_to(outside)
    with pytest.raises(RecordError, match="if that is meant: --log-dir"):
        TrajectoryWriter(Path(log_dir), RUN)
    assert not list(outside.iterdir())


def test_a_folder_that_is_named_may_be_anywhere(outside: Path) -> None:
    Path("logs").symlink_to("within")
    Path("within").mkdir()
    for log_dir in (outside, Path("../outside/more"), Path("logs")):
        TrajectoryWriter(log_dir, RUN).close()
        assert (log_dir / f"{RUN}.jsonl").exists()


@contextmanager
def room_for_files_of(size_bytes: int) -> Iterator[None]:
    """A disk on which no file gets larger: what is written beyond that fails half-way, as on a full one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def held_open(folder: Path) -> list[str]:
    """What this process has open in a folder."""
    named = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    return [name for name in named if name.startswith(str(folder))]


@pytest.mark.parametrize(
    "body",
    [
        ExecOutput(text="x" * 30_000),
        ExecOutput(text="x" * 200_000),
        MessageAdded(role="user", content=SECRET * 400),
    ],
    ids=["half a line", "half a blob", "half an exact text"],
)
def test_after_a_full_disk_nothing_stays_open_and_nothing_is_vouched_for(tmp_path: Path, body: Body) -> None:
    writer, exact = TrajectoryWriter(tmp_path, RUN), ExactFile(exact_path(tmp_path / f"{RUN}.jsonl"), encode_value)
    recorder = Recorder(RUN, writer, masker=masker("secrets"), keeper=exact)
    recorder.record(recorder.root, Warned(message="before"))
    with room_for_files_of(10_000):
        recorder.record(recorder.root, body)
    recorder.record(recorder.root, MessageAdded(role="user", content=SECRET))
    assert Trajectory(writer.path).is_running()
    with pytest.raises(RecordError, match="free some space"):
        recorder.check()
    recorder.close()
    exact.close()
    assert not Trajectory(writer.path).is_running()
    assert held_open(tmp_path) == []
    assert list(tmp_path.rglob("*.part")) == []
    assert [event.body for event in Trajectory(writer.path)] == [Warned(message="before")]
    assert receipts.verify(writer.path).verdict == "unfinished"


def test_a_record_that_could_not_begin_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / ".gitignore").write_text("*\n")
    with room_for_files_of(10), pytest.raises(RecordError):
        TrajectoryWriter(tmp_path / "logs", RUN)
    assert [path.name for path in (tmp_path / "logs").iterdir()] == [".gitignore"]
    assert held_open(tmp_path) == []


def test_an_artifact_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    with room_for_files_of(10), pytest.raises(ToolError, match="could not be saved"):
        artifacts.save("a.txt", b"x" * 100)
    assert list((tmp_path / "artifacts").iterdir()) == []
    assert artifacts.save("a.txt", b"x" * 100) == "a.txt"
