"""The gate of real components: what is absent is named, what is required and absent fails, and there is no other way
past it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.required import COMPONENTS, needs, required

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests.support import required
from tests.support.required import pytest_configure, pytest_runtest_setup, pytest_terminal_summary

required.COMPONENTS = {
    "here": required.Component(lacks=lambda: None, advice="nothing"),
    "absent": required.Component(lacks=lambda: "it is not there", advice="get it"),
}
"""
SUITE = """
import pytest
from tests.support.required import needs, require

@needs("here")
def test_here(): pass

@pytest.mark.parametrize("what", ["plain", pytest.param("absent", marks=needs("absent"))])
def test_parameters(what): assert what == "plain"

@pytest.fixture
def part(): require("absent")

def test_fixture(part): raise AssertionError
"""


def run_suite(folder: Path, require: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(SUITE)
    environ = {**os.environ, "RLM_REQUIRE": require, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    command = [sys.executable, "-m", "pytest", "--strict-markers", "-rs", f"--rootdir={folder}", str(folder)]
    ran = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True)
    return ran.returncode, ran.stdout + ran.stderr


def test_what_is_absent_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    code, printed = run_suite(tmp_path, require="")
    assert (code, "2 passed, 2 skipped" in printed) == (0, True), printed
    assert "absent: it is not there; get it" in printed
    assert "NOT RUN: 2 tests that need absent (it is not there). To run them: get it." in printed


def test_what_is_required_and_absent_fails(tmp_path: Path) -> None:
    code, printed = run_suite(tmp_path, require="here, absent")
    assert (code, "2 passed, 2 errors" in printed) == (1, True), printed
    assert "RLM_REQUIRE names absent: it is not there; get it" in printed
    assert "NOT RUN" not in printed


def test_what_is_required_and_unknown_is_refused(tmp_path: Path) -> None:
    code, printed = run_suite(tmp_path, require="dokcer")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "no component of the tests: dokcer; there are: here, absent" in printed


def test_a_need_that_is_no_component_is_refused() -> None:
    with pytest.raises(pytest.UsageError, match="dokcer"):
        needs("docker", "dokcer")


def test_the_list_may_be_empty_or_spaced() -> None:
    assert required({}) == required({"RLM_REQUIRE": " , "}) == frozenset()
    assert required({"RLM_REQUIRE": "wasm, docker"}) == {"wasm", "docker"}


def test_every_component_can_be_looked_for() -> None:
    assert all(component.advice for component in COMPONENTS.values())
    assert {lack is None or bool(lack) for lack in (component.lacks() for component in COMPONENTS.values())} == {True}


def test_no_test_skips_past_the_gate() -> None:
    skips = re.compile(r"\b(importorskip|skipif|skipTest|pytest\.skip|mark\.skip|allow_module_level)\b")
    gate = ROOT / "tests" / "support" / "required.py"
    modules = set((ROOT / "tests").rglob("*.py")) - {gate, Path(__file__)}
    assert [str(path) for path in sorted(modules) if skips.search(path.read_text(encoding="utf-8"))] == []
