"""How a cluster asks for a run once more whose worker was lost: from its record, if it can go on from that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rlm import RLM
from rlm.backends.scripted import ScriptedBackend
from rlm.core.config import Config
from rlm.jobs.engines.cluster.engine import _going_on
from rlm.jobs.engines.cluster.messages import RunAsked

if TYPE_CHECKING:
    from pathlib import Path


def test_a_record_that_breaks_off_before_the_task_is_left_behind(tmp_path: Path) -> None:
    config = Config(model="scripted/m", environment="local", log_dir=str(tmp_path))
    with RLM(ScriptedBackend(["done"]), config=config) as rlm:
        whole = rlm.completion("?").trajectory
    assert whole is not None
    lines = whole.read_bytes().splitlines(keepends=True)
    begun = next(number for number, line in enumerate(lines) if b'"completion.start"' in line)
    asked, made = RunAsked(run_id="ab" * 16, config={}), SimpleNamespace(request=SimpleNamespace(config=config))
    record: Any = tmp_path / f"{asked.run_id}.jsonl"
    assert _going_on(asked, made) == asked, "it had no record: nothing was begun"
    for content in (b"", lines[0][:20], lines[0], b"".join(lines[:begun])):
        record.write_bytes(content)
        again = _going_on(asked, made)
        assert (again.run_id != asked.run_id, again.resumes) == (True, "")
    record.write_bytes(b"".join(lines[: begun + 1]))
    again = _going_on(asked, made)
    assert (again.run_id != asked.run_id, again.resumes) == (True, str(record))
