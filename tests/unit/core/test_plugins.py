"""Plug-ins: found by their entry points, imported only when named, and what is wrong with one is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rlm.core import plugins
from rlm.core.exceptions import ConfigError
from tests.support.plugins import installed


def test_names_are_read_without_importing_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entries = {"rlm.sandboxes": {"box": "wild_plugin:BOX"}, "rlm.backends": {"models": "wild_plugin:Models"}}
    installed(monkeypatch, tmp_path, "wild_plugin", entries, "raise RuntimeError('imported')")
    assert "box" in plugins.names("rlm.sandboxes")
    assert "models" in plugins.names("rlm.backends")
    assert "models" not in plugins.names("rlm.sandboxes")
    assert "wild_plugin" not in sys.modules


def test_one_that_is_named_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entries = {"rlm.sandboxes": {"box": "tame_plugin:BOX"}}
    installed(monkeypatch, tmp_path, "tame_plugin", entries, "BOX = 'a box'")
    assert plugins.load("rlm.sandboxes", "box") == "a box"


@pytest.mark.parametrize("source", ["raise RuntimeError('broken')", "import no_such_package", "BOXES = 1"])
def test_one_that_cannot_be_imported_names_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    installed(monkeypatch, tmp_path, "broken_plugin", {"rlm.sandboxes": {"box": "broken_plugin:BOX"}}, source)
    with pytest.raises(ConfigError, match="'box' of broken_plugin can't be loaded"):
        plugins.load("rlm.sandboxes", "box")


def test_a_name_that_two_packages_offer_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in ("one_plugin", "other_plugin"):
        installed(monkeypatch, tmp_path / package, package, {"rlm.sandboxes": {"box": f"{package}:BOX"}})
    with pytest.raises(ConfigError, match="offered by one_plugin and other_plugin"):
        plugins.load("rlm.sandboxes", "box")
