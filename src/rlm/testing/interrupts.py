"""A cell can be stopped from outside, and be given a time of its own; both in every kind of sandbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rlm.testing.openers import Opener, shown

if TYPE_CHECKING:
    from rlm.core.interfaces import Repl
    from rlm.core.types import ExecResult


async def begun(opener: Opener, code: str) -> tuple[Repl, asyncio.Task[ExecResult]]:
    """A REPL in the middle of a cell."""
    started = asyncio.Event()

    async def begin() -> None:
        started.set()

    repl = await opener(begin=begin)
    running = asyncio.ensure_future(repl.execute(f"kept = 1\nbegin()\n{code}"))
    await asyncio.wait({running, asyncio.ensure_future(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    return repl, running


class CellInterrupts:
    """What holds under any policy for cells."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_an_interrupt_ends_the_cell_and_keeps_the_state(self, opener: Opener) -> None:
        repl, running = await begun(opener, "while True: pass")
        repl.interrupt("somebody said stop")
        result = await running
        assert result.error is not None
        assert (result.status, result.error.kind, result.error.message) == (
            "interrupted",
            "KeyboardInterrupt",
            "somebody said stop",
        )
        assert shown(await repl.execute("kept")) == "1"

    async def test_an_interrupt_ends_the_wait_for_a_call(self, opener: Opener) -> None:
        asked = asyncio.Event()

        async def ask() -> None:
            asked.set()
            await asyncio.Event().wait()

        repl = await opener(ask=ask)
        running = asyncio.ensure_future(repl.execute("kept = 1\nask()"))
        await asked.wait()
        repl.interrupt("nobody answers")
        assert (await running).status == "interrupted"
        assert shown(await repl.execute("kept")) == "1"

    async def test_an_interrupt_between_cells_does_nothing(self, opener: Opener) -> None:
        repl = await opener()
        repl.interrupt("nothing runs")
        assert shown(await repl.execute("1")) == "1"
        repl.interrupt("nothing runs")
        assert shown(await repl.execute("2")) == "2"

    async def test_one_cell_may_be_given_less_time(self, opener: Opener) -> None:
        repl = await opener()
        result = await repl.execute("while True: pass", 0.5)
        assert (result.status, result.state_reset) == ("timeout", False)
        assert result.error is not None
        assert "0.5 s" in result.error.message


class CellInterruptsWithoutPolicy:
    """What holds where cells may use all of Python."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_one_cell_may_be_given_more_time(self, impatient: Opener) -> None:
        repl = await impatient()
        result = await repl.execute("import time\ntime.sleep(2)\n'done'", 30)
        assert shown(result) == "'done'"
