"""What a confined guest may read beside the standard library."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rlm.repl.guest.linux.paths import readable


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is installed to be edited, its folder itself on the import path."""
    (tmp_path / "package").mkdir()
    for name in ("package/__init__.py", "module.py", ".env"):
        (tmp_path / name).touch()
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def test_of_a_checkout_only_what_can_be_imported_is_read(checkout: Path) -> None:
    allowed = readable(packages=True, checkouts=True)
    read = {path for path in allowed.trees if Path(path).is_relative_to(checkout)}
    assert read == {str(checkout / "package"), str(checkout / "module.py")}
    assert str(checkout) in allowed.listings


@pytest.mark.parametrize("packages", [True, False])
def test_nothing_of_a_checkout_is_seen_without_packages_or_checkouts(checkout: Path, packages: bool) -> None:
    allowed = readable(packages=packages, checkouts=not packages)
    assert not any(Path(path).is_relative_to(checkout) for path in (*allowed.trees, *allowed.listings))


def test_a_folder_of_installed_packages_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
    assert str(installed) in readable(packages=True, checkouts=False).trees
