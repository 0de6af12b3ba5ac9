"""Folders of contexts: what a killed host left is removed, and what is in use stays."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from rlm.repl.spool_folders import SpoolFolder, blocks, sweep
from rlm.runtime.inputs import prepare


def test_only_folders_that_nobody_holds_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, used = tmp_path / "rlm-some-left", SpoolFolder("rlm-some-")
    left.mkdir()
    (left / "context").write_text("data of a run that was killed", encoding="utf-8")
    for folder in (left, used.path):
        os.utime(folder, (0, 0))
    sweep("rlm-some-")
    assert list(tmp_path.iterdir()) == [used.path]
    used.remove()
    assert list(tmp_path.iterdir()) == []


async def test_blocks_are_the_parts_in_order(tmp_path: Path) -> None:
    texts = {"a.txt": "a" * 1_500_000, "b.txt": "", "c.txt": "c" * 700_000}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = [block async for block in blocks(prepare(tmp_path))]
    assert b"".join(found).decode() == "".join(texts.values())
    assert [len(block) for block in found] == [1 << 20, 1 << 20, 2_200_000 - (2 << 20)]
