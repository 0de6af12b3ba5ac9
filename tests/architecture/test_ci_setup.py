"""`.ci/setup` touches nothing that wasn't asked for, and says what to do where it can't help."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SETUP = Path(__file__).parents[2] / ".ci" / "setup"
TOUCHING = ("apt-get", "debootstrap", "docker", "dockerd")


def run_setup(folder: Path, **environ: str) -> tuple[int, str]:
    """Run it on a machine whose every tool notes that it was called, and fails."""
    for name in TOUCHING:
        tool = folder / name
        tool.write_text(f'#!/bin/sh\necho "$0" >> {folder}/called\necho "the end of a log" >&2\nexit 1\n')
        tool.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [SETUP],
        env={"PATH": path, "RLM_CI_CACHE": str(folder / "cache"), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stderr


def test_what_is_not_required_is_not_touched(tmp_path: Path) -> None:
    assert run_setup(tmp_path, RLM_REQUIRE="claude, wasm") == (0, "")
    assert not (tmp_path / "called").exists()


def test_an_engine_elsewhere_that_does_not_answer_is_named(tmp_path: Path) -> None:
    code, said = run_setup(tmp_path, RLM_REQUIRE="docker", DOCKER_HOST="tcp://elsewhere.invalid:1")
    assert (code, "DOCKER_HOST=tcp://elsewhere.invalid:1 does not answer" in said) == (1, True), said


def test_an_engine_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    code, said = run_setup(tmp_path, RLM_REQUIRE="docker")
    assert code == 1
    if os.geteuid() == 0:
        assert "the end of a log" in said
        assert "dockerd does not answer" in said
    else:
        assert "only root can change that" in said
