"""No cell outlives its timeout, no guest outgrows its memory, and a REPL goes on after each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rlm.testing.openers import TIMEOUT_S, Opener, echo, shown, threaded

if TYPE_CHECKING:
    from rlm.core.interfaces import Repl
    from rlm.core.types import ExecResult


OBEDIENT = [
    "while True: pass",
    "import time\ntime.sleep(60)",
    "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "7 ** 10**9",
]
"""Cells without end that an interrupt ends."""


async def timed_out(repl: Repl, code: str) -> ExecResult:
    result = await repl.execute(code)
    assert result.status == "timeout", result
    assert result.error is not None
    assert result.error.kind == "TimeoutError"
    assert f"{TIMEOUT_S:g} s" in result.error.message
    return result


async def never_torn(repl: Repl, code: str) -> None:
    """However often a cell that calls without end is interrupted, the next call gets its own answer."""
    for _ in range(4):
        assert not (await timed_out(repl, code)).state_reset
        assert shown(await repl.execute("echo([1])")) == "[1]"


class CellLimits:
    """What holds where cells may use all of Python."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_a_cell_that_obeys_keeps_the_state(self, lenient: Opener) -> None:
        repl = await lenient()
        for number, code in enumerate(OBEDIENT):
            result = await timed_out(repl, f"kept = {number}\nprint('before')\n{code}")
            assert (result.output, result.state_reset) == ("before\n", False), code
            assert shown(await repl.execute("kept")) == str(number), code

    async def test_the_traceback_of_a_timeout_says_where_it_was(self, lenient: Opener) -> None:
        result = await timed_out(await lenient(), "def spin():\n    while True:\n        pass\nspin()")
        assert result.error is not None
        assert "spin()" in result.error.traceback

    @pytest.mark.parametrize(
        "code",
        ["import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", "sum(range(10**12))"],
        ids=["ignores interrupts", "in C"],
    )
    async def test_a_cell_that_does_not_obey_is_killed(self, impatient: Opener, code: str) -> None:
        repl = await impatient()
        result = await timed_out(repl, "lost = 1\nprint('before')\n" + code)
        assert (result.output, result.state_reset) == ("before\n", True)
        after = await repl.execute("'lost' in globals()")
        assert (after.output, after.state_reset) == ("False\n", False)

    async def test_an_interrupt_that_is_swallowed_without_end_is_no_way_out(self, impatient: Opener) -> None:
        code = (
            "import time\nfor _ in range(1_000):\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt: pass"
        )
        assert (await timed_out(await impatient(), code)).state_reset

    async def test_waiting_for_a_call_costs_nothing(self, lenient: Opener) -> None:
        other = await lenient()

        async def slow() -> str:
            for _ in range(2):
                await timed_out(other, "while True: pass")
            return "worth it"

        repl = await lenient(slow=slow)
        assert shown(await repl.execute("slow()")) == "'worth it'"

    async def test_the_clock_goes_on_after_a_call(self, lenient: Opener) -> None:
        other = await lenient()

        async def quick() -> None:
            await other.execute("1")

        repl = await lenient(quick=quick)
        await timed_out(repl, "quick()\nwhile True: pass")

    @threaded
    async def test_a_waiting_thread_does_not_shield_a_spinning_one(self, impatient: Opener) -> None:
        async def never() -> None:
            await asyncio.Event().wait()

        repl = await impatient(never=never)
        code = "import threading\ndef spin():\n    while True: pass\n"
        code += "threading.Thread(target=spin, daemon=True).start()\nnever()"
        result = await timed_out(repl, code)
        assert result.error is not None
        assert "CPU" in result.error.message
        assert result.state_reset

    @threaded
    async def test_a_call_that_waits_is_answered_when_the_cell_is_stopped(self, lenient: Opener) -> None:
        cancelled = asyncio.Event()

        async def never() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        repl = await lenient(never=never)
        code = "import threading\nseen = []\ndef wait():\n    try:\n        never()\n    except TimeoutError:\n"
        code += "        seen.append('woken')\nt = threading.Thread(target=wait)\nt.start()\nwhile True: pass"
        result = await timed_out(repl, code)
        assert cancelled.is_set()
        assert not result.state_reset
        assert shown(await repl.execute("t.join()\nseen")) == "['woken']"

    async def test_an_interrupt_never_tears_a_frame(self, lenient: Opener) -> None:
        repl = await lenient(echo=echo)
        await never_torn(repl, "while True: assert len(echo('x' * 200_000)) == 200_000")
        await never_torn(repl, "while True: print(echo(1))")

    @threaded
    async def test_an_interrupt_never_tears_a_frame_of_a_thread(self, lenient: Opener) -> None:
        await never_torn(
            await lenient(echo=echo),
            "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool:\n"
            "    while True: assert list(pool.map(echo, range(8))) == list(range(8))",
        )

    @threaded
    async def test_a_spinning_thread_left_behind_is_ended(self, impatient: Opener) -> None:
        repl, other = await impatient(), await impatient()
        code = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()"
        assert (await repl.execute(code)).status == "ok"
        wait_s = TIMEOUT_S
        while not (result := await repl.execute("1 + 1", timeout_s=60)).state_reset:
            assert wait_s < 60
            wait_s *= 2
            await other.execute("import time\ntime.sleep(600)", wait_s)  # only what it takes between two cells counts
        assert (result.status, result.output) == ("ok", "2\n")
        assert not (await repl.execute("1")).state_reset

    async def test_a_timer_ends_with_its_cell(self, opener: Opener) -> None:
        repl = await opener()
        await repl.execute(
            "import signal\nif hasattr(signal, 'setitimer'):\n    signal.setitimer(signal.ITIMER_REAL, 60)"
        )
        code = "signal.getitimer(signal.ITIMER_REAL)[0] if hasattr(signal, 'getitimer') else 0.0"
        assert shown(await repl.execute(code)) == "0.0"

    async def test_how_a_guest_ended_is_told(self, opener: Opener) -> None:
        repl = await opener()
        for code in (3, 0):
            result = await repl.execute(f"import os\nos._exit({code})")
            assert (result.status, result.state_reset) == ("killed", True)
            assert result.error is not None
            assert result.error.message == f"the sandbox ended by itself, with exit code {code}"

    async def test_too_much_memory_is_an_error_of_the_cell(self, small: Opener) -> None:
        repl = await small()
        result = await repl.execute("x = 1\nbig = 'x' * (1 << 30)")
        assert result.error is not None
        assert (result.error.kind, result.state_reset) == ("MemoryError", False)
        assert shown(await repl.execute("x")) == "1"

    async def test_memory_eaten_bit_by_bit_ends_at_the_limit(self, small: Opener) -> None:
        repl = await small()
        result = await repl.execute("hoard = []\nwhile True:\n    hoard.append('x' * 1_000_000)")
        assert result.status in ("error", "killed")
        await repl.execute("hoard = None")
        assert shown(await repl.execute("1 + 1")) == "2"

    async def test_variables_that_fill_the_memory_can_be_deleted(self, small: Opener) -> None:
        repl = await small()
        result = await repl.execute("kept = 1\nx = []\nwhile True:\n    x.append('%400d' % len(x))")
        assert result.error is not None
        assert (result.error.kind, result.state_reset) == ("MemoryError", False)
        assert "variables" in result.error.message
        assert result.error.message in result.error.traceback
        final = await repl.execute("FINAL(len(x) > 100_000)")
        assert final.final is not None
        assert final.final.value is True
        assert shown(await repl.execute("x = None\nkept")) == "1"
        again = await repl.execute("y = 'x' * (1 << 30)")
        assert again.error is not None
        assert "variables are kept" in again.error.message
        assert shown(await repl.execute("kept")) == "1"

    async def test_a_repl_that_stays_full_starts_anew_and_says_so(self, small: Opener) -> None:
        repl = await small("the context")
        code = "x = globals().get('x', [])\nwhile True:\n    x.append([len(x)] * 10_000)"
        results = [await repl.execute(code) for _ in range(2)]
        assert [(result.status, result.state_reset) for result in results] == [("error", False), ("killed", True)]
        assert results[1].error is not None
        assert "memory" in results[1].error.message
        assert shown(await repl.execute("'x' in globals(), context")) == "(False, 'the context')"

    @threaded
    async def test_threads_without_end_stop_at_the_limit(self, small: Opener) -> None:
        repl = await small()
        code = "import threading\ngo = threading.Event()\nstarted = 0\ntry:\n    while True:\n"
        code += "        threading.Thread(target=go.wait, daemon=True).start()\n        started += 1\n"
        code += "except (RuntimeError, MemoryError) as e:\n    go.set()\n    print(started < 1_000)"
        result = await repl.execute(code)
        assert result.output == "True\n" or result.status == "killed"
        assert shown(await repl.execute("1 + 1")) == "2"

    @threaded
    async def test_many_threads_with_small_stacks_end_the_guest(self, opener: Opener) -> None:
        repl = await opener()
        code = "import threading\nthreading.stack_size(32 << 10)\ngo = threading.Event()\nwhile True:\n"
        code += "    threading.Thread(target=go.wait, daemon=True).start()"
        result = await repl.execute(code)
        assert result.error is not None
        limits = {
            "killed": "more than 1,024 threads",
            "error": "can't start new thread",
        }  # the host's, or the container's
        assert limits[result.status] in result.error.message
