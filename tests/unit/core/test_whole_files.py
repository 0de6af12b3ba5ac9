"""A file is replaced whole or stays as it was, and nothing is left beside it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rlm.core.whole_files import replace_file


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old and longer")
    replace_file(path, b"new", mode=0o640)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = tmp_path / "folder"
    taken.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(taken, b"new")
    assert list(tmp_path.iterdir()) == [taken]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"elsewhere")
    link.symlink_to(target)
    replace_file(link, b"new")
    assert (target.read_bytes(), link.read_bytes(), link.is_symlink()) == (b"elsewhere", b"new", False)
