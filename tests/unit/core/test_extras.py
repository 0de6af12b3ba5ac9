"""How a missing optional package is installed: by its own name, into the interpreter that runs."""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata

import pytest

from rlm.core.extras import install_command
from tests.architecture.sources import ROOT, SRC

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"all"}))
def test_the_packages_themselves_are_named(extra: str) -> None:
    command = install_command(extra)
    assert command.startswith(f"{sys.executable} -m pip install ")
    for requirement in EXTRAS[extra]:
        assert requirement.split(">")[0] in command


def test_what_is_not_installed_is_told_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert install_command("docker") == "install this package with its extra 'docker'"


def test_no_text_sends_anyone_to_an_index_for_this_distribution() -> None:
    texts = [*SRC.rglob("*.py"), *SRC.rglob("*.md"), *SRC.rglob("*.json"), *(ROOT / "docs").glob("*.md")]
    texts += [ROOT / "README.md", ROOT / "rlm.toml.example"]
    naming = [str(path.relative_to(ROOT)) for path in texts if "install 'rlm-runtime" in path.read_text()]
    naming += [str(path.relative_to(ROOT)) for path in texts if "install rlm-runtime" in path.read_text()]
    assert naming == []
