from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from rlm.core.exceptions import ToolError
from rlm.processes import worker
from rlm.processes.worker import WorkerPool

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def targets(monkeypatch):
    """Have workers find `targets`, which stands beside this."""
    folders = [*worker.package_folders(), HERE]
    monkeypatch.setattr(worker, "package_folders", lambda: folders)


@pytest.fixture
async def pool():
    pool = WorkerPool(size=2)
    yield pool
    await pool.aclose()


async def gone(pid: int) -> bool:
    """Wait until a process has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)
    return True


@pytest.fixture
def marker(tmp_path):
    """A fifo that a worker writes its process id to when it begins."""
    os.mkfifo(tmp_path / "marker")
    return tmp_path / "marker"


async def marked(marker: Path) -> int:
    return int(await asyncio.to_thread(marker.read_text))


async def test_a_call_is_answered_and_the_worker_stays_warm(pool):
    assert await pool.call("targets:add", {"a": 2, "b": 3}, timeout_s=10) == 5
    first = await pool.call("targets:pid", {}, timeout_s=10)
    assert await pool.call("targets:pid", {}, timeout_s=10) == first != os.getpid()


async def test_calls_run_side_by_side(pool):
    first, second = await asyncio.gather(*(pool.call("targets:pid", {}, timeout_s=10) for _ in range(2)))
    assert first != second


async def test_errors_are_told_and_the_worker_survives(pool):
    first = await pool.call("targets:pid", {}, timeout_s=10)
    for target, message in (("refuse", "^no$"), ("deepen", "nested too deep"), ("gobble", "too much memory")):
        with pytest.raises(ToolError, match=message):
            await pool.call(f"targets:{target}", {}, timeout_s=10)
    assert await pool.call("targets:pid", {}, timeout_s=10) == first


async def test_a_catastrophic_pattern_ends_in_time_and_the_next_call_works(pool):
    await pool.call("targets:pid", {}, timeout_s=10)
    with pytest.raises(ToolError, match=r"took longer than 0\.2 s"):
        await pool.call("targets:catastrophe", {}, timeout_s=0.2)
    assert await pool.call("targets:add", {"a": 1, "b": 1}, timeout_s=10) == 2


async def test_the_start_of_a_worker_gives_its_first_call_no_longer_time(pool):
    with pytest.raises(ToolError, match=r"took longer than 0\.2 s"):
        await pool.call("targets:catastrophe", {}, timeout_s=0.2)


async def test_a_result_too_large_is_told_and_the_worker_survives(pool):
    first = await pool.call("targets:pid", {}, timeout_s=10)
    with pytest.raises(ToolError, match="ask for less"):
        await pool.call("targets:fill", {"size": (16 << 20) + 1}, timeout_s=10)
    assert await pool.call("targets:pid", {}, timeout_s=10) == first


async def test_a_worker_that_dies_is_an_error_and_is_replaced(pool):
    with pytest.raises(ToolError, match="was stopped"):
        await pool.call("targets:crash", {}, timeout_s=10)
    assert await pool.call("targets:add", {"a": 1, "b": 1}, timeout_s=10) == 2


async def test_cancellation_kills_the_worker(pool, marker):
    call = asyncio.create_task(pool.call("targets:catastrophe", {"marker": str(marker)}, timeout_s=60))
    pid = await marked(marker)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await gone(pid)


async def test_closing_kills_idle_workers_and_those_at_work_afterwards(pool):
    working = asyncio.create_task(pool.call("targets:pid", {}, timeout_s=10))
    await asyncio.sleep(0)
    await pool.aclose()
    assert await gone(await working)


async def test_a_worker_sees_no_keys(pool, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert "OPENAI_API_KEY" not in await pool.call("targets:environment", {}, timeout_s=10)


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize", "msgspec", "json", "tree_sitter", "rlm"])
async def test_a_worker_runs_no_module_of_the_folder_that_its_host_has_its_script_in(pool, tmp_path, monkeypatch, name):
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with suppress(ToolError):  # that there is no tree_sitter
        await pool.call(f"{worker.__name__}:warm_up", {"module": "tree_sitter"}, timeout_s=10)
    assert await pool.call("rlm.files.walk:matches", {"path": "a.py", "pattern": "*.py"}, timeout_s=10) is True
    assert not (tmp_path / "canary").exists()


async def test_a_worker_at_work_dies_with_its_host(marker):
    code = (
        "import asyncio, sys\n"
        "from rlm.processes import worker\n"
        f"folders = [*worker.package_folders(), {HERE!r}]\n"
        "worker.package_folders = lambda: folders\n"
        "call = worker.WorkerPool().call('targets:catastrophe', {'marker': sys.argv[1]}, timeout_s=60)\n"
        "asyncio.run(call)\n"
    )
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(marker))
    pid = await marked(marker)
    host.send_signal(signal.SIGKILL)
    await host.wait()
    assert await gone(pid)
