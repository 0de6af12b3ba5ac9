"""What tests leave behind fails their session, and what was not run is told, in however many processes they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests.support import leftovers, required

leftovers._PATIENCE_S = 0.0
required.COMPONENTS = {"absent": required.Component(lacks=lambda: "it is not there", advice="get it")}
"""
SUITE = """
import tempfile
import pytest
from tests.support.required import needs

@pytest.mark.parametrize("number", range(4))
def test_something(number): pass

@needs("absent")
@pytest.mark.parametrize("number", range(2))
def test_of_what_is_absent(number): pass

def test_that_leaves_a_folder(): tempfile.mkdtemp(prefix="rlm-docker-left-")
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two"])
def test_a_session_tells_what_its_tests_left_and_did_not_run(options: tuple[str, ...], tmp_path: Path) -> None:
    folder, temporary = tmp_path / "suite", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(SUITE)
    own = {"RLM_REQUIRE": "", "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "PYTEST_ADDOPTS": ""}
    environ = {**os.environ, **own}
    plugins = ("-p", "tests.support.required", "-p", "tests.support.leftovers", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *plugins, *options, f"--rootdir={folder}", str(folder)]
    ran = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True)
    (left,) = temporary.glob("rlm-docker-*")
    assert f"\nLEFT BEHIND by the tests: {left}\n" in ran.stdout
    assert "5 passed, 2 skipped" in ran.stdout
    assert "NOT RUN: 2 tests that need absent (it is not there)" in ran.stdout
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
