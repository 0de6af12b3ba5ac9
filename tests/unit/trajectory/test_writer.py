"""Where a record may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm.core.exceptions import RecordError
from rlm.trajectory.writer import TrajectoryWriter

RUN = "ab" * 16


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
