"""Commands that can't outlive this process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from rlm.processes.child import Child, Command, start
from rlm.processes.keeper import NOT_FOUND
from tests.support.ended import until_ended


async def started(tmp_path: Path, *argv: str) -> Child:
    command = Command(argv=argv, env={"PATH": os.environ["PATH"], "ONLY": "1"}, cwd=tmp_path)
    return await start(command, line_bytes=1_000_000)


async def test_a_command_talks_and_its_exit_code_comes_through(tmp_path: Path) -> None:
    child = await started(tmp_path, sys.executable, "-c", "print(input().upper()); import sys; sys.exit(7)")
    child.stdin.write(b"hi\n")
    assert await child.stdout.readline() == b"HI\n"
    assert await child.wait() == 7
    await child.kill()
    await child.kill()


async def test_a_command_that_a_signal_ended_says_which(tmp_path: Path) -> None:
    child = await started(tmp_path, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert await child.wait() == 128 + signal.SIGKILL
    await child.kill()


async def test_a_command_that_is_not_there_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    child = await started(tmp_path, "no-such-program")
    assert await child.wait() == NOT_FOUND
    assert "No such file" in child.complaint
    await child.kill()


async def test_it_gets_what_it_is_given_and_no_more(tmp_path: Path) -> None:
    child = await started(tmp_path, sys.executable, "-I", "-c", "import os; print(os.getcwd(), *sorted(os.environ))")
    cwd, *names = (await child.stdout.readline()).decode().split()
    assert Path(cwd) == tmp_path
    assert set(names) - {"LC_CTYPE"} == {"ONLY", "PATH"}
    await child.kill()


async def test_what_is_left_of_a_command_ends_with_it(tmp_path: Path) -> None:
    child = await started(tmp_path, "sh", "-c", "sleep 3600 >/dev/null 2>&1 & echo $!")
    left = int(await child.stdout.readline())
    assert await child.wait() == 0
    await until_ended([left])
    await child.kill()


async def test_killing_ends_the_whole_group_while_it_floods_its_pipes(tmp_path: Path) -> None:
    child = await started(tmp_path, "sh", "-c", "echo $$; yes & yes >&2")
    pid = int(await child.stdout.readline())
    async with asyncio.timeout(20):
        await child.kill()
    await until_ended([pid])
    assert len(child.complaint) <= 4_096


async def test_a_group_dies_with_its_keeper(tmp_path: Path) -> None:
    child = await started(tmp_path, "sh", "-c", "echo $$; sleep 3600")
    pid = int(await child.stdout.readline())
    os.kill(child.process.pid, signal.SIGTERM)  # as the kernel does when the host dies
    await until_ended([pid])
    await child.kill()


async def test_a_command_has_time_to_clean_up(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    child = await started(tmp_path, "sh", "-c", "trap 'rm lock; exit' TERM; echo $$; while :; do sleep 0.01; done")
    pid = int(await child.stdout.readline())
    os.kill(child.process.pid, signal.SIGTERM)
    await until_ended([pid])
    assert not (tmp_path / "lock").exists()
    await child.kill()


async def test_a_command_that_takes_no_notice_is_killed(tmp_path: Path) -> None:
    child = await started(tmp_path, "sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.01; done")
    pid = int(await child.stdout.readline())
    os.kill(child.process.pid, signal.SIGTERM)
    await until_ended([pid])
    await child.kill()
