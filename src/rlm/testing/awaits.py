"""`await` in cells: at their top, and on functions of the host, which then wait at one time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rlm.testing.openers import Opener, echo, shown

if TYPE_CHECKING:
    from rlm.core.interfaces import Repl

MEETS = [
    "await asyncio.gather(meet('a'), meet('b'))",
    "await asyncio.gather(*[meet(each) for each in 'ab'])",
    "await asyncio.gather(*(meet(each) for each in 'ab'))",
    "await asyncio.gather(*map(meet, 'ab'))",
    "[await task for task in [asyncio.create_task(meet('a')), asyncio.create_task(meet('b'))]]",
    "sorted([await each for each in asyncio.as_completed([meet('a'), meet('b')])])",
    "sorted(t.result() for t in (await asyncio.wait([asyncio.create_task(meet(each)) for each in 'ab']))[0])",
    "await asyncio.gather(both('a'), both('b'))",
]
"""Each makes two calls that end only together."""


class Awaits:
    """What holds wherever a cell may import asyncio."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_a_call_is_awaited_at_the_top_of_a_cell(self, repl: Repl) -> None:
        code = "x = await echo('a')\nprint(x)\nawait echo('b', k=1)"
        assert shown(await repl.execute(code)) == "a\n[['b'], {'k': 1}]"
        assert shown(await repl.execute("x")) == "'a'"

    async def test_without_await_the_same_call_blocks(self, repl: Repl) -> None:
        code = "async def f():\n    return echo('a')\nx = echo('b')\n[x, await f(), type(x).__name__]"
        assert shown(await repl.execute(code)) == "['b', 'a', 'str']"

    async def test_awaited_calls_wait_at_one_time(self, opener: Opener) -> None:
        together = asyncio.Barrier(2)

        async def meet(name: str) -> str:
            await together.wait()
            return name.upper()

        repl = await opener(meet=meet)
        await repl.execute("import asyncio\nasync def both(name):\n    return await meet(name)")
        assert {code: shown(await repl.execute(code)) for code in MEETS} == dict.fromkeys(MEETS, "['A', 'B']")
        code = "async def main():\n    return await asyncio.gather(meet('a'), both('b'))\nasyncio.run(main())"
        assert shown(await repl.execute(code)) == "['A', 'B']"

    async def test_a_group_of_tasks_calls_at_one_time(self, opener: Opener) -> None:
        together = asyncio.Barrier(2)

        async def meet(name: str) -> str:
            await together.wait()
            return name.upper()

        repl = await opener(meet=meet)
        code = (
            "import asyncio\nasync with asyncio.TaskGroup() as group:\n"
            "    tasks = [group.create_task(meet(each)) for each in 'ab']\n[t.result() for t in tasks]"
        )
        assert shown(await repl.execute(code)) == "['A', 'B']"

    async def test_async_loops_stand_at_the_top_of_a_cell(self, repl: Repl) -> None:
        await repl.execute("async def numbers():\n    for n in range(3):\n        yield n\ntotal = 0")
        code = "async for n in numbers():\n    total += n\n[total, [n async for n in numbers()]]"
        assert shown(await repl.execute(code)) == "[3, [0, 1, 2]]"

    async def test_errors_of_the_host_are_raised_where_a_call_is_awaited(self, opener: Opener) -> None:
        async def fail() -> None:
            raise ValueError("bad")

        repl = await opener(fail=fail)
        code = "try:\n    await fail()\nexcept ValueError as e:\n    print(repr(e))"
        assert shown(await repl.execute(code)) == "ValueError('bad')"
        result = await repl.execute("x = 1\nawait fail()")
        assert result.error is not None
        assert (result.error.kind, result.error.message) == ("ValueError", "bad")
        assert "line 2" in result.error.traceback

    async def test_final_may_be_given_from_a_task(self, repl: Repl) -> None:
        result = await repl.execute("async def f():\n    FINAL(await echo(7))\nawait f()\nprint('no')")
        assert (result.final and result.final.value, result.error, result.output) == (7, None, "")

    async def test_what_a_cell_leaves_unfinished_is_cancelled(self, opener: Opener) -> None:
        asked = asyncio.Event()

        async def never() -> None:
            asked.set()
            await asyncio.Event().wait()

        async def until_asked() -> None:
            await asked.wait()

        repl = await opener(never=never, until_asked=until_asked, echo=echo)
        code = "import asyncio\ntask = asyncio.create_task(never())\nawait until_asked()"
        assert (await repl.execute(code)).error is None
        assert shown(await repl.execute("[task.cancelled(), await echo(1)]")) == "[True, 1]"

    async def test_a_cell_that_awaits_obeys_its_timeout(self, impatient: Opener) -> None:
        repl = await impatient(echo=echo)
        result = await repl.execute("import asyncio\nx = 1\nawait asyncio.sleep(600)")
        assert (result.status, result.state_reset) == ("timeout", False)
        assert shown(await repl.execute("[x, await echo(2)]")) == "[1, 2]"

    async def test_a_value_that_is_awaited_is_an_error_with_advice(self, repl: Repl) -> None:
        for cell in ("x = echo('a')\nawait x", "import asyncio\nlate = [echo('a')]\nawait asyncio.gather(*late)"):
            result = await repl.execute(cell)
            assert result.error is not None
            assert "right after await" in result.error.message

    async def test_a_name_of_another_meaning_starts_nothing(self, repl: Repl) -> None:
        code = "def gather(*values):\n    return values\ngather(echo(1), echo(2))"
        assert shown(await repl.execute(code)) == "(1, 2)"

    async def test_other_awaitables_are_awaited_as_ever(self, repl: Repl) -> None:
        await repl.execute(
            "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x\nq = asyncio.Queue()"
        )
        assert shown(await repl.execute("await q.put(1)\n[await f(2), await q.get()]")) == "[2, 1]"
