"""`environment = "auto"` where something is missing: another sandbox is taken and named, or none, and all is said."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import RLM, User, fenced
from tests.support.required import TEST_IMAGE, needs

WITHHOLD = """
import os, struct, sys
from rlm.repl.guest import kernel\nfrom rlm.repl.guest.linux import seccomp

ENOSYS, LANDLOCK = 38, 444
program = [(0x20, 0, 0, 0), (0x15, 0, 1, LANDLOCK), (6, 0, 0, 0x50000 | ENOSYS), (6, 0, 0, 0x7FFF0000)]
kernel.set_no_new_privileges()
seccomp.install(b"".join(struct.pack("=HBBI", *each) for each in program))
os.execv(sys.argv[1], sys.argv[1:])
"""
CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
NO_WASM = {"RLM_WASM_PYODIDE_DIR": "/nowhere"}
NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere.sock"}


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with User(tmp_path) as user:
        yield user


def without_landlock(user: User, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run `rlm` on a kernel that knows nothing of Landlock."""
    done = subprocess.run(
        [sys.executable, "-c", WITHHOLD, RLM, *arguments],
        env={**user.environ, "XDG_CACHE_HOME": CACHE, "RLM_WASM_WARM": "0", "RLM_DOCKER_WARM": "0", **environ},
        cwd=user.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@needs("wasm")
def test_where_local_cannot_confine_wasm_is_taken_and_named(user: User) -> None:
    code, printed, said = without_landlock(user, "run", "?", "--model", user.script(fenced("FINAL(6 * 7)")))
    assert (code, printed) == (0, "42\n"), said
    assert said.startswith("no sandbox is set: using wasm (choose another with --environment); not local: ")
    [record] = user.logs.glob("*.jsonl")
    start, ready = (json.loads(line)["body"] for line in record.read_text().splitlines()[:2])
    assert (start["environment"], ready["environment"], ready["chosen"]) == ("wasm", "wasm", True)
    assert "landlock" in ready["passed_over"]["local"]


@needs("docker")
def test_without_wasm_docker_is_taken(user: User) -> None:
    code, printed, said = without_landlock(user, "exec", "-c", "6 * 7", RLM_DOCKER_IMAGE=TEST_IMAGE, **NO_WASM)
    assert (code, printed) == (0, "42\n"), said
    assert "using docker" in said
    assert "; not local: " in said
    assert "; not wasm: " in said


def test_where_nothing_works_each_says_what_it_lacks(user: User) -> None:
    code, printed, said = without_landlock(user, "exec", "-c", "1", **NO_WASM, **NO_DOCKER)
    assert (code, printed) == (5, "")
    error, *hints = said.splitlines()
    assert error == "error: no sandbox works here, and code is never run without one"
    assert [hint.split(": ")[1] for hint in hints] == ["local", "wasm", "docker"]
    assert all(len(hint) > len("hint: docker: ") for hint in hints)


def test_local_that_is_named_is_not_replaced(user: User) -> None:
    code, printed, said = without_landlock(user, "exec", "--env", "local", "-c", "1")
    assert (code, printed) == (5, "")
    assert said.startswith(f"error: the local sandbox cannot confine code on Linux {platform.release()} (landlock: ")


def test_local_is_taken_unconfined_only_where_that_is_said(user: User) -> None:
    code, printed, said = without_landlock(user, "exec", "-c", "6 * 7", RLM_LOCAL_ALLOW_UNCONFINED="true")
    assert (code, printed) == (0, "42\n"), said
    assert "using local" in said
