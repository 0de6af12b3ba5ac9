"""The example package adds a sandbox and a backend from outside: installed, named, run, and proved by the suites."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli import User

TOYS = Path(__file__).parents[2] / "examples" / "rlm-plugin-toys"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, for a build leaves files in its folder."""
    return shutil.copytree(
        TOYS, tmp_path_factory.mktemp("toys") / "source", ignore=shutil.ignore_patterns("__pycache__")
    )


@pytest.fixture(scope="module")
def site(source: Path) -> Path:
    """A folder with the example as pip installs it."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    folder = source.parent / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", folder, source], check=True)
    return folder


def test_a_run_goes_through_both(user: User, site: Path) -> None:
    user.write("data.txt", "x" * 1_234)
    asked = ("run", "how long is it?", "--env", "toy", "--model", "toy/answer", "-f", "data.txt")
    done = user.process(*asked, PYTHONPATH=str(site))
    assert (done.stdout, done.returncode) == ("1,234 characters\n", 0), done.stderr


def test_doctor_looks_at_it_only_when_it_is_named(user: User, site: Path) -> None:
    looks = {}
    for environment in ("toy", "local"):
        done = user.process("doctor", "--json", PYTHONPATH=str(site), RLM_ENVIRONMENT=environment, RLM_MODEL="demo")
        looks[environment] = {check["name"]: check["detail"] for check in json.loads(done.stdout)["checks"]}
    assert "confines nothing" in looks["toy"]["toy"]
    assert "toy" not in looks["local"]


def test_its_settings_are_its_own(user: User, site: Path) -> None:
    wrong = {"RLM_PLUGINS": "{ toy = { memoria = '1g' } }"}
    done = user.process("exec", "--env", "toy", "-c", "1 + 1", PYTHONPATH=str(site), **wrong)
    assert done.returncode == 2
    assert "[plugins.toy]" in done.stderr
    assert "memoria" in done.stderr


def test_a_projects_file_may_name_it_once_it_is_trusted(user: User, site: Path) -> None:
    user.write("rlm.toml", '[rlm]\nenvironment = "toy"\n')
    refused = user.process("exec", "-c", "1 + 1", PYTHONPATH=str(site))
    assert (refused.returncode, "rlm trust" in refused.stderr) == (2, True)
    user.process("trust", "rlm.toml", "--yes", PYTHONPATH=str(site))
    assert user.process("exec", "-c", "1 + 1", PYTHONPATH=str(site)).stdout == "2\n"


def test_it_is_unknown_where_it_is_not_installed(user: User) -> None:
    done = user.rlm("exec", "--env", "toy", "-c", "1 + 1")
    assert done.returncode == 2
    assert "there is no sandbox 'toy'; choose from: auto, docker, e2b, local, ssh, wasm" in done.stderr


def test_the_suites_prove_it(source: Path, site: Path) -> None:
    """By a part of them, which our own classes pass whole: what is to be seen is that they run outside."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "Backend or state or call or context",
    ]
    environ = {**os.environ, "PYTHONPATH": str(site), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=source, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.rpartition(" passed")[0].rpartition("\n")[2]) > 30, done.stdout
