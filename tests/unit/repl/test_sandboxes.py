"""Sandboxes are found by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rlm import repl
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, SandboxUnavailableError


def test_every_row_loads() -> None:
    assert callable(repl.load("auto").from_config)
    for name in repl.SANDBOXES:
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
