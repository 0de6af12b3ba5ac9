"""What is told from the data of users: records, and what stands beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm.trajectory.own_files import begins_own, is_exact, is_own_file, is_own_folder
from tests.unit.trajectory.records import RUN, write

EXACT = b'{"salt":"00112233445566778899aabbccddeeff"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield tmp_path, fd
    os.close(fd)


def test_a_record_and_what_stands_beside_it_are_known(folder: tuple[Path, int]) -> None:
    path, fd = folder
    write(path)
    (path / f"{RUN}.exact").write_bytes(EXACT)
    (path / f"{RUN}.context").write_text("anything at all")
    (path / f"{RUN}.context.part").write_text("any")
    (path / "index.sqlite").write_bytes(b"SQLite format 3\0")
    (path / "index.sqlite-wal").write_bytes(b"")
    (path / ("0" * 32 + ".jsonl")).write_bytes(b"")  # a run that begins just now
    assert all(is_own_file(each.name, fd) for each in path.iterdir() if each.name != ".gitignore")
    assert is_own_folder(f"{RUN}.blobs")
    assert is_own_folder(f"{RUN}.artifacts")
    assert is_exact(f"{RUN}.exact")


def test_data_that_is_merely_named_so_is_data(folder: tuple[Path, int]) -> None:
    path, fd = folder
    (path / f"{RUN}.jsonl").write_text('{"question": "?"}\n')
    (path / f"{RUN}.receipt").write_text("paid: 12.50")
    (path / f"{RUN}.exact").write_text("1,2\n")
    (path / "notes.jsonl").write_text("{}\n")
    assert not any(is_own_file(each.name, fd) for each in path.iterdir())
    for name in (f"{RUN[1:]}.blobs", "blobs", f"{RUN}.parts"):
        assert not is_own_folder(name)


def test_an_index_of_something_else_is_data(folder: tuple[Path, int]) -> None:
    path, fd = folder
    (path / "index.sqlite").write_bytes(b"SQLite format 3\0")
    assert not is_own_file("index.sqlite", fd)


def test_a_record_is_known_by_its_first_line_whatever_its_name(tmp_path: Path) -> None:
    content = write(tmp_path).read_bytes()
    assert begins_own(content)
    assert begins_own(json.dumps(json.loads(content.partition(b"\n")[0])).encode())
    assert begins_own(EXACT)
    assert not begins_own(content.partition(b"\n")[2])
    assert not begins_own(b'{"seq": 0, "type": "run.start"}')
