"""The workers of a survey: answers in order, and no process that outlives the one that asked."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

from rlm.processes.parallel import Workers, _Worker
from tests.support.ended import until_ended

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TARGET = "rlm.helpers.facts.questions:answer_in_worker"
BUSY = """
import sys, threading
from rlm.processes import parallel
started = parallel._Worker.ask
def ask(worker, frame):
    print(worker._process.pid, flush=True)
    return started(worker, frame)
parallel._Worker.ask = ask
from rlm.helpers import open_helpers
open_helpers(sys.argv[1]).code.find_functions(".", pattern="(a+)+[0-9]$")
"""


def test_answers_come_in_the_order_of_the_batches(tree: Path) -> None:
    for number in range(4):
        (tree / f"m{number}.py").write_text("def f(): ...\n" * number)
    batches = [[[str(tree), f"m{number}.py"]] for number in range(4)]
    question = {"function": "rlm.helpers.facts.definitions:functions_in", "about": {"pattern": None}}
    with Workers(2) as workers:
        parts = list(workers.run(TARGET, {"roots": [str(tree)], "question": question, "most": 10}, batches))
    assert [value["total"] for ((_, value),) in parts] == [0, 1, 2, 3]  # type: ignore[index,call-overload]


async def test_workers_that_are_busy_end_with_a_process_that_is_killed(tree: Path) -> None:
    for number in range(150):
        (tree / f"long_{number}.py").write_text(f"def {'a' * 60}(): ...\n")
    asking = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY, str(tree), stdout=asyncio.subprocess.PIPE)
    assert asking.stdout is not None
    pids = [int(await asking.stdout.readline())]
    asking.kill()
    await asking.wait()
    await until_ended(pids)


def test_whoever_leaves_waits_for_none_of_them(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "a.py").write_text(f"def {'a' * 60}(): ...\n")
    at_work = threading.Event()
    ask = _Worker.ask
    monkeypatch.setattr(_Worker, "ask", lambda *asked: at_work.set() or ask(*asked))
    question = {"function": "rlm.helpers.facts.definitions:functions_in", "about": {"pattern": "(a+)+[0-9]$"}}
    batch = [[str(tree), "a.py"]] * 8
    alone = Workers(1)
    running = alone.run(TARGET, {"roots": [str(tree)], "question": question, "most": 1}, [batch])
    threads = [threading.Thread(target=list, args=(running,)), threading.Thread(target=alone.__exit__)]
    threads[0].start()
    assert at_work.wait(20)
    threads[1].start()
    for thread in threads:
        thread.join(10)  # together less than a worker is given for a batch
    assert not any(thread.is_alive() for thread in threads)
