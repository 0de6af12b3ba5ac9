"""A file is replaced whole or stays as it was, and nothing is left beside it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rlm.core.whole_files import part_of, replace_file, sole_writer


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


def test_a_file_of_one_writer_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.blob"
    part_of(path).write_bytes(b"left by a kill, and longer")
    with sole_writer(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_what_one_writer_broke_off_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "a.blob"
    path.write_bytes(b"old")

    def broken_off() -> None:
        with sole_writer(path) as file:
            file.write(b"half")
            raise EOFError

    with pytest.raises(EOFError):
        broken_off()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]
