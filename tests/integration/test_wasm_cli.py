"""`rlm` with the sandbox `wasm`, from the command line to the answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rlm.core.config import WasmConfig
from rlm.repl.wasm import pyodide_files
from rlm.repl.wasm.launcher import WASM
from tests.integration.cli import User
from tests.support.required import needs
from tests.support.wasm import cache, damaged_snapshot, home, linked, variables

pytestmark = needs("wasm")

REPLY = "```python\nprint(len(context))\nFINAL(context.upper() + ' ' + llm_query('again?'))\n```"


@pytest.fixture
def user(user: User) -> User:
    """A user whose cache is that of this one, and who starts no guest ahead of need."""
    user.environ |= {"XDG_CACHE_HOME": str(cache(os.environ).parents[1]), "RLM_WASM_WARM": "0"}
    return user


def test_a_run_ends_with_its_answer(user: User) -> None:
    done = user.rlm("run", "shout", "--env", "wasm", "--model", user.script(REPLY, "yes"), stdin="data")
    assert (done.returncode, done.stdout) == (0, "DATA yes\n")


def test_code_alone_runs_too(user: User) -> None:
    user.write("code.py", "import sys\nprint(sys.platform)\nFINAL(len(context))")
    done = user.rlm("exec", "--env", "wasm", "code.py", stdin="four")
    assert (done.returncode, done.stdout, done.stderr) == (0, "emscripten\n4\n", "")


def test_a_cell_without_end_is_stopped(user: User) -> None:
    done = user.rlm("exec", "--env", "wasm", "-c", "print('begun')\nwhile True: pass", "--cell-timeout", "0.5")
    assert (done.returncode, done.stdout) == (1, "begun\n")
    assert "timed out" in done.stderr


def test_the_first_use_says_what_it_prepares_and_needs_no_network(user: User, pyodide: Path, tmp_path: Path) -> None:
    """A damaged snapshot is as good as none."""
    folder = linked(pyodide, tmp_path / "a folder % with ü #chars")
    user.environ |= home(user.home)
    user.environ |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "RLM_WASM_PYODIDE_DIR": str(folder)}
    damaged = damaged_snapshot(folder, cache(user.environ))
    done = user.rlm("exec", "--env", "wasm", "-c", "1 + 1")
    assert (done.returncode, done.stdout) == (0, "2\n")
    assert "preparing Python in WebAssembly, once" in done.stderr
    (anew,) = cache(user.environ).glob("snapshot-*.bin")
    assert anew != damaged
    assert user.rlm("exec", "--env", "wasm", "-c", "2 + 2").stderr == ""
    with variables(user.environ):
        probed = asyncio.run(WASM.probe(WasmConfig(pyodide_dir=str(folder))))
    layers = {layer.name: layer.active for layer in probed.layers}
    assert layers["pyodide"]
    assert layers["snapshot"]


def test_without_pyodide_it_exits_5_with_the_way_to_get_it(user: User, tmp_path: Path) -> None:
    settings = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NPM_CONFIG_REGISTRY": "http://127.0.0.1:9/"}
    done = user.rlm("exec", "--env", "wasm", "-c", "1", **settings)
    assert (done.returncode, done.stdout) == (5, "")
    assert f"error: Pyodide {pyodide_files.VERSION} cannot be fetched" in done.stderr
    assert "wasm.pyodide_dir" in done.stderr


def test_a_project_may_not_name_pyodide_untrusted(user: User) -> None:
    user.write("rlm.toml", '[wasm]\npyodide_dir = "vendored"\n')
    done = user.rlm("exec", "--env", "wasm", "-c", "1")
    assert done.returncode == 2
    assert "wasm.pyodide_dir" in done.stderr
    assert "rlm trust" in done.stderr
