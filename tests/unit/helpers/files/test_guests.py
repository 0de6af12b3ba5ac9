"""`fs` as guest code reaches it: what can't travel as JSON, and what takes too long."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers.guest_tools import GuestHelpers
from rlm.helpers.opening import open_workspace
from rlm.processes.worker import WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def call(tree: Path) -> AsyncIterator[Callable[..., Any]]:
    """Calls an operation through a worker, with half a second for it."""
    workers = WorkerPool()
    helpers = GuestHelpers(open_workspace([tree], ["read", "write"], os.environ), workers, 0.5)
    yield lambda name, **arguments: helpers.get(name).call(arguments)
    await workers.aclose()


async def test_names_and_texts_that_are_no_unicode_come_escaped(tree: Path, call: Callable[..., Any]) -> None:
    odd = os.fsencode(tree) + b"/\xff.txt"
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write("naïve café — déjà vu, señor\n".encode() * 20 + b"old \xff\n")
    assert await call("fs.glob") == ["\\udcff.txt"]
    facts = await call("fs.search_replace", file_pattern="*.txt", search="old", replace="new")
    assert facts["files"] == [{"file": "\\udcff.txt", "replacements": 1}]
    with open(odd, "rb") as file:  # noqa: PTH123
        assert file.read().endswith(b"new \xff\n")
    assert await call("fs.history") != []
    os.rename(odd, tree / "even.txt")  # noqa: PTH104
    assert (await call("fs.read_file", path="even.txt")).endswith("new \\udcff\n")


async def test_a_guests_file_brings_its_folders(tree: Path, call: Callable[..., Any]) -> None:
    facts = await call("fs.write_file", path="pkg/deep/x.py", content="x = 1\n")
    assert facts["folders_made"] == ["pkg", "pkg/deep"]
    assert (tree / "pkg" / "deep" / "x.py").read_text() == "x = 1\n"
    await call("fs.undo")
    assert list(tree.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fs.search_replace", {"file_pattern": "a", "search": "(a+)+$", "replace": "", "regex": True}),
        ("fs.glob", {"pattern": "{a,b}" * 40}),
        ("fs.glob", {"pattern": "**/a/" * 12 + "x"}),
    ],
)
async def test_a_pattern_that_never_ends_is_stopped(
    tree: Path, call: Callable[..., Any], name: str, arguments: dict[str, Any]
) -> None:
    (tree / "a").write_text("a" * 40 + "!")
    deep = tree.joinpath("d", *["a"] * 60)
    deep.mkdir(parents=True)
    (deep / "y").touch()
    with pytest.raises(ToolError, match="took longer than 0.5 s"):
        await call(name, **arguments)
    assert (tree / "a").read_text() == "a" * 40 + "!"
