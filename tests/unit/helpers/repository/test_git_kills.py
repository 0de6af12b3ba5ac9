"""Git is ended in the middle of its work: it takes its lock files with it, whoever ended it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import git
from rlm.helpers.guest_tools import GuestHelpers
from rlm.helpers.opening import open_workspace
from rlm.helpers.repository.program import GitProgram
from rlm.processes.worker import WorkerPool
from tests.support.git_trees import make_repository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ENDLESS_BYTES = 1 << 40


@pytest.fixture
def repository(tree: Path) -> Path:
    """With a file that takes days to add, and no space on disk."""
    make_repository(tree)
    with (tree / "endless").open("wb") as file:
        file.truncate(ENDLESS_BYTES)
    return tree


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    workers = WorkerPool(size=1)
    yield workers
    await workers.aclose()


async def locked(repository: Path, *, is_locked: bool) -> None:
    async with asyncio.timeout(20):
        while (repository / ".git" / "index.lock").exists() != is_locked:
            await asyncio.sleep(0.005)


async def test_at_the_end_of_a_cell(repository: Path, pool: WorkerPool) -> None:
    work = open_workspace([repository], ["read", "git"], os.environ)
    call = GuestHelpers(work, pool, 60.0).get("git.git_add").call({"files": ["."]})
    adding = asyncio.create_task(call)
    await locked(repository, is_locked=True)
    adding.cancel()
    await asyncio.wait([adding])
    await locked(repository, is_locked=False)


async def test_with_its_host(repository: Path) -> None:
    code = "from rlm.helpers import git; git.git_add(['.'])"
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=repository)
    await locked(repository, is_locked=True)
    host.send_signal(signal.SIGKILL)
    await host.wait()
    await locked(repository, is_locked=False)


def test_at_its_own_deadline(repository: Path) -> None:
    program = GitProgram(folder=str(repository), environ=os.environ, timeout_s=0.3)
    with pytest.raises(ToolError, match=r"git add took longer than 0\.3 s and was stopped"):
        program.run("add", "--", "endless", changes=True)
    assert not (repository / ".git" / "index.lock").exists()


def test_without_its_keeper_the_lock_would_stay(repository: Path) -> None:
    with subprocess.Popen(["git", "add", "endless"], cwd=repository) as adding:
        asyncio.run(locked(repository, is_locked=True))
        adding.kill()
    assert (repository / ".git" / "index.lock").exists()


def test_a_lock_of_somebody_else_says_what_to_do(repository: Path) -> None:
    (repository / ".git" / "index.lock").write_text("")
    with pytest.raises(ToolError, match=r"index\.lock is there, so another git is at work .* remove that file"):
        git.git_add(["a.txt"])
