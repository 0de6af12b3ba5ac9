"""Sandboxes are found by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlm import repl
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, SandboxUnavailableError
from tests.support.plugins import installed


def test_every_row_loads() -> None:
    assert callable(repl.load("auto").from_config)
    for name in (*repl.SANDBOXES, *repl.REMOTE):
        kind = repl.load(name)
        assert (kind.name, kind.section(Config())) == (name, getattr(Config(), name))


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(ConfigError, match="'vm'.*local"):
        repl.load("vm")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(repl.SANDBOXES, "odd", "no_such_package:Sandbox")
    with pytest.raises(SandboxUnavailableError, match="no_such_package"):
        repl.load("odd")


def test_the_guest_runs_on_the_standard_library_alone() -> None:
    code = "import sys, rlm.repl.guest.main, rlm.repl.guest.linux.zygote; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"msgspec", "aiohttp", "RestrictedPython", "typer", "numpy"})
    assert "rlm.core" not in done.stdout.split()


def test_a_name_that_is_nearly_one_is_recognised() -> None:
    with pytest.raises(ConfigError, match=r"choose from: auto, docker, e2b, local, ssh, wasm\ndid you mean docker\?"):
        repl.load("dcoker")


def test_a_plug_in_is_loaded_by_its_name_and_never_disturbs_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = "from rlm.repl.sandbox import Kind\nBOX = Kind(name='box', section=None, start=None, probe=None)\nRAW = 1"
    installed(monkeypatch, tmp_path / "a", "good_box", {"rlm.sandboxes": {"box": "good_box:BOX"}}, source)
    installed(monkeypatch, tmp_path / "b", "raw_box", {"rlm.sandboxes": {"raw": "good_box:RAW"}})
    entries = {"rlm.sandboxes": {"wild": "wild_box:BOX", "local": "wild_box:LOCAL"}}
    installed(monkeypatch, tmp_path / "c", "wild_box", entries, "raise RuntimeError('imported')")
    assert repl.load("box").name == "box"
    assert repl.load("local").name == "local"
    with pytest.raises(ConfigError, match="choose from: auto, box, docker, e2b, local, raw, ssh, wasm, wild"):
        repl.load("no such thing")
    with pytest.raises(ConfigError, match="'raw' is not a sandbox"):
        repl.load("raw")
    with pytest.raises(ConfigError, match="'wild' of wild_box can't be loaded: RuntimeError: imported"):
        repl.load("wild")
