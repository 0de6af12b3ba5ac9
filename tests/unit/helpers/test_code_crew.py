"""The workers of a survey: answers in order, and no process that outlives the one that asked."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from rlm.helpers.facts.crew import Crew
from tests.support.ended import until_ended

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "rlm.helpers.facts.answers:answer_in_worker"
BUSY = """
import sys, threading
from rlm.helpers.facts import crew
started = crew._Worker.ask
def ask(worker, frame):
    print(worker._process.pid, flush=True)
    return started(worker, frame)
crew._Worker.ask = ask
from rlm.helpers import open_helpers
open_helpers(sys.argv[1]).code.find_functions(".", pattern="(a+)+[0-9]$")
"""


def test_answers_come_in_the_order_of_the_batches(tree: Path) -> None:
    for number in range(4):
        (tree / f"m{number}.py").write_text("def f(): ...\n" * number)
    batches = [[[str(tree), f"m{number}.py"]] for number in range(4)]
    ask = {"question": "rlm.helpers.facts.queries:functions_in", "about": {"pattern": None}}
    with Crew(2) as crew:
        parts = list(crew.run(TARGET, {"roots": [str(tree)], "ask": ask, "most": 10}, batches))
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
