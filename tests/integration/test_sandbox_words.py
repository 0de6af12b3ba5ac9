"""What a model is told of its sandbox: what it can't do there, and why it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import DockerConfig
from rlm.core.events import ExecEnd, decode
from rlm.core.outcome import RLMResult
from tests.support.environments import in_each, settings_of
from tests.support.required import TEST_IMAGE, needs


def ran(folder: Path, environment: str, code: str, **settings: Any) -> tuple[RLMResult, str, str]:
    """What became of a run with one cell, the first thing it told its model, and what it told of the cell."""
    backend = ScriptedBackend([tool_call("execute_code", code=code), "done"])
    config = Config(log_dir=str(folder), **{**settings_of(environment), **settings})
    with RLM(backend, config=config) as rlm:
        result = rlm.completion("question")
    return result, backend.requests[0].messages[0].content, backend.requests[1].messages[-1].content


def recorded(result: RLMResult) -> ExecEnd:
    assert result.trajectory is not None
    bodies = [decode(line).body for line in result.trajectory.read_bytes().splitlines()]
    return next(body for body in bodies if isinstance(body, ExecEnd))


@in_each
def test_a_model_is_told_where_python_starts_no_threads(tmp_path: Path, environment: str) -> None:
    _, prompt, _ = ran(tmp_path, environment, "1")
    assert ("can't start threads" in prompt) == (environment == "wasm")


@in_each
def test_how_a_sandbox_ended_is_told_and_recorded(tmp_path: Path, environment: str) -> None:
    result, _, shown = ran(tmp_path, environment, "import os\nprint('begun')\nos._exit(3)")
    assert (result.status, result.value) == ("completed", "done")
    assert shown.splitlines()[:2] == ["begun", "SandboxKilled: the sandbox ended by itself, with exit code 3"]
    end = recorded(result)
    assert (end.status, end.state_reset) == ("killed", True)
    assert end.error is not None
    assert end.error.message == "the sandbox ended by itself, with exit code 3"


def test_a_cell_that_ran_out_of_time_is_told_so_and_what_is_kept(tmp_path: Path) -> None:
    code = "y = 7\nprint('l1')\nwhile True: pass"
    _, _, shown = ran(tmp_path, "local", code, cell_timeout_s=1.0)
    first, *_, why, kept = shown.splitlines()
    assert first == "l1"
    assert why == "TimeoutError: the cell ran longer than 1 s and was stopped"
    assert kept == "[All variables are kept, those too that this cell had set: y.]"


def test_the_value_and_the_true_end_of_a_flood_are_shown(tmp_path: Path) -> None:
    _, _, shown = ran(tmp_path, "local", "for i in range(200_000): print(i)\nprint('TOTAL')\n42")
    assert shown.startswith("0\n1\n2\n")
    assert shown.endswith("\n199999\nTOTAL\n42")
    assert "1,278,899 of 1,288,899 characters cut here" in shown


@needs("docker")
def test_memory_that_no_limit_inside_sees_is_named(tmp_path: Path) -> None:
    code = "import mmap\nshared = mmap.mmap(-1, 1 << 29)\nfor at in range(0, 1 << 29, 4096): shared[at] = 1"
    settings = DockerConfig(image=TEST_IMAGE, warm=0, memory="64m")
    _, _, shown = ran(tmp_path, "docker", code, docker=settings)
    assert "the sandbox ran out of memory and the kernel ended it" in shown
