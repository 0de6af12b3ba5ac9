"""Functions of the host as cells call them, and the values that cross in both directions."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.contexts.context import Context
from rlm.core.exceptions import TokenBudgetExhausted
from rlm.runtime.inputs import prepare
from rlm.testing.openers import Opener, echo, shown, threaded

if TYPE_CHECKING:
    from rlm.core.interfaces import Repl

VALUES = [
    None, True, 0, -1, 2**53, 2**53 + 1, -(2**70), 1.5, math.inf, -math.inf, "", "żółć", "\ud800", b"\x00\xff",
    [], [1, [2, ["x"]]], {}, {"a": {"b": [None]}}, {1: "one", None: 2, (1, 2): 3}, {"$bytes": "no"}, {"\ud800": 1},
]  # fmt: skip


class Calls:
    """What holds under any policy for cells."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_arguments_and_answers_cross(self, repl: Repl) -> None:
        assert shown(await repl.execute("echo(1, 'b', k=[2])")) == "[[1, 'b'], {'k': [2]}]"

    async def test_values_come_back_the_same(self, opener: Opener) -> None:
        turn = iter(VALUES)

        async def given() -> Any:
            return next(turn)

        repl = await opener(given=given, echo=echo)
        different = {}
        for value in VALUES:
            result = await repl.execute("v = given()\nFINAL([v, echo(v), v == echo(v), type(v) is type(echo(v))])")
            if result.final is None or result.final.value != [value, value, True, True]:
                different[repr(value)] = result
        assert different == {}

    async def test_nan_crosses(self, repl: Repl) -> None:
        assert shown(await repl.execute("x = echo(float('nan'))\nx != x")) == "True"

    async def test_tuples_sets_and_dataclasses_become_lists_and_dicts(self, repl: Repl) -> None:
        code = "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\necho([(1,), {2}, P(3)])"
        assert shown(await repl.execute(code)) == "[[1], [2], {'x': 3}]"

    async def test_what_has_no_form_arrives_as_text(self, repl: Repl) -> None:
        assert "<function" in shown(await repl.execute("def f(): pass\necho(f)"))

    async def test_a_structure_that_holds_itself_arrives(self, repl: Repl) -> None:
        assert shown(await repl.execute("a = [1]\na.append(a)\necho(a)")) == "[1, '[1, ...]']"

    async def test_errors_of_the_host_are_raised_in_the_cell(self, opener: Opener) -> None:
        errors: dict[str, Exception] = {
            "ValueError('bad')": ValueError("bad"),
            "TypeError('bad')": TypeError("bad"),
            "KeyError('bad')": KeyError("bad"),
            "FileNotFoundError('bad')": FileNotFoundError("bad"),
            "PermissionError('bad')": PermissionError("bad"),
            "TimeoutError('bad')": TimeoutError("bad"),
            "SubcallError('TokenBudgetExhausted', 'bad')": TokenBudgetExhausted("bad"),
        }
        turn = iter(errors.values())

        async def fail() -> None:
            raise next(turn)

        repl = await opener(fail=fail)
        code = "try:\n    fail()\nexcept Exception as e:\n    print(repr(e))"
        assert [shown(await repl.execute(code)) for _ in errors] == list(errors)

    async def test_an_uncaught_error_of_the_host_ends_the_cell_only(self, opener: Opener) -> None:
        async def fail() -> None:
            raise TokenBudgetExhausted("nothing left")

        repl = await opener(fail=fail)
        result = await repl.execute("x = 1\nfail()")
        assert result.error is not None
        assert (result.error.kind, result.error.message) == ("SubcallError", "TokenBudgetExhausted: nothing left")
        assert shown(await repl.execute("x")) == "1"

    async def test_a_fault_of_the_host_is_raised_to_its_caller(self, opener: Opener) -> None:
        async def broken() -> None:
            raise ZeroDivisionError("a bug")

        repl = await opener(broken=broken)
        with pytest.raises(ZeroDivisionError):
            await repl.execute("broken()")
        assert (await repl.execute("1")).state_reset

    async def test_a_failed_item_of_a_batch_is_a_value(self, opener: Opener) -> None:
        async def batch() -> list[Any]:
            return ["fine", ValueError("one failed")]

        repl = await opener(batch=batch)
        code = "good, bad = batch()\ngood, isinstance(bad, SubcallError), bad.kind, bad.message"
        assert shown(await repl.execute(code)) == "('fine', True, 'ValueError', 'one failed')"

    @threaded
    async def test_threads_call_at_the_same_time(self, opener: Opener) -> None:
        together = asyncio.Barrier(8)

        async def meet(number: int) -> int:
            await together.wait()
            return number * 10

        repl = await opener(meet=meet)
        code = "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
        code += "    r = list(pool.map(meet, range(8)))\nr"
        assert shown(await repl.execute(code)) == str([n * 10 for n in range(8)])

    @threaded
    async def test_many_calls_from_many_threads_all_get_their_own_answer(self, opener: Opener) -> None:
        repl = await opener(echo=echo)
        code = "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(16) as pool:\n"
        code += "    r = list(pool.map(echo, range(2_000)))\nr == list(range(2_000))"
        assert shown(await repl.execute(code)) == "True"

    @threaded
    async def test_a_call_left_waiting_is_answered_when_the_cell_ends(self, opener: Opener) -> None:
        called, cancelled = asyncio.Event(), asyncio.Event()

        async def never() -> None:
            called.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        repl = await opener(never=never, wait=called.wait)
        code = "import threading\nseen = []\ndef work():\n    try:\n        never()\n    except TimeoutError as e:\n"
        code += "        seen.append(str(e))\nt = threading.Thread(target=work)\nt.start()\nwait()"
        await repl.execute(code)
        assert cancelled.is_set()
        assert shown(await repl.execute("t.join()\nseen")) == "['the cell has ended']"

    @threaded
    async def test_a_thread_left_behind_cannot_call_between_cells(self, opener: Opener) -> None:
        repl = await opener(never=asyncio.Event().wait)
        code = "import threading\nseen = []\ndef work():\n    while not seen:\n        try:\n            never()\n"
        code += (
            "        except TimeoutError:\n            pass  # the cell has ended\n        except RuntimeError as e:\n"
        )
        code += "            seen.append(str(e))\nt = threading.Thread(target=work)\nt.start()"
        await repl.execute(code)
        async with asyncio.timeout(60):
            while (said := shown(await repl.execute("seen"))) == "[]":
                pass  # this cell began before the thread called: it calls again when it has ended
        assert "while a cell runs" in said

    async def test_large_arguments_and_answers(self, opener: Opener) -> None:
        async def grow(text: str) -> str:
            return text * 2

        repl = await opener(grow=grow)
        assert shown(await repl.execute("len(grow('é' * 5_000_000))")) == "10000000"

    async def test_arguments_too_large_for_a_frame_are_an_error_of_the_cell(self, repl: Repl) -> None:
        code = "try:\n    echo('x' * (65 << 20))\nexcept ValueError:\n    print('refused')"
        assert shown(await repl.execute(code)) == "refused"
        assert shown(await repl.execute("echo(1)")) == "1"

    @pytest.mark.parametrize("value", ["'x' * (65 << 20)", "[1] * 1_100_000"], ids=["bytes", "values"])
    async def test_a_final_answer_too_large_for_a_frame_is_an_error_of_the_cell(self, repl: Repl, value: str) -> None:
        result = await repl.execute(f"answer = {value}\nFINAL(answer)")
        assert (result.status, result.final, result.state_reset) == ("error", None, False)
        assert result.error is not None
        assert "FINAL: the answer is too large" in result.error.message
        assert shown(await repl.execute("len(answer) > 0")) == "True"

    async def test_too_many_values_for_a_frame_are_an_error_of_the_cell(self, repl: Repl) -> None:
        code = "many = [1] * 1_100_000\ntry:\n    echo(many)\nexcept ValueError as e:\n    print(e)"
        assert "more than 1,000,000 values do not fit a frame" in shown(await repl.execute(code))
        assert shown(await repl.execute("len(many)")) == "1100000"
        assert shown(await repl.execute("len(echo(','.join('1' for _ in many)))")) == "2199999"

    @pytest.mark.parametrize("kind", ["text", "files", "value"])
    async def test_a_large_context_given_to_a_call_is_not_copied(self, opener: Opener, kind: str) -> None:
        line = "x" * 99 + "\n"
        values = {"text": line * 20_000, "files": {"a": line * 20_000}, "value": [line] * 20_000}
        context = prepare(values[kind])
        received: list[Any] = []

        async def take(given: Any) -> None:
            received.append(given)

        repl = await opener(context, take=take)
        assert shown(await repl.execute("take(context)")) == ""
        assert received == [context]
        assert isinstance(received[0], Context)

    async def test_a_large_context_that_a_cell_has_changed_goes_as_it_is_now(self, opener: Opener) -> None:
        received: list[Any] = []

        async def take(given: Any) -> None:
            received.append(given)

        large = "x" * (1 << 20)
        repl = await opener([large, ["a", "b"], {"k": {"n": 1}}], take=take)
        for change in (
            "context.append('NEW')",
            "context[1][0] = 'c'",
            "context[2]['k']['n'] = 2",
            "context[0] = 'short'",
            "del context[1]",
        ):
            assert shown(await repl.execute(f"{change}\ntake(context)")) == ""
        assert received == [
            [large, ["a", "b"], {"k": {"n": 1}}, "NEW"],
            [large, ["c", "b"], {"k": {"n": 1}}, "NEW"],
            [large, ["c", "b"], {"k": {"n": 2}}, "NEW"],
            ["short", ["c", "b"], {"k": {"n": 2}}, "NEW"],
            ["short", {"k": {"n": 2}}, "NEW"],
        ]

    async def test_a_small_context_given_to_a_call_goes_by_value(self, opener: Opener) -> None:
        repl = await opener("a text", echo=echo)
        assert shown(await repl.execute("echo(context)")) == "'a text'"

    async def test_names_with_a_dot_are_methods_of_an_object(self, opener: Opener) -> None:
        repl = await opener(**{"fs.echo": echo, "fs.more": echo})
        assert shown(await repl.execute("fs.echo(1, k=2)")) == "[[1], {'k': 2}]"
        assert shown(await repl.execute("fs")) == "<fs: echo, more>"
        assert "fs has no 'exho'; it has echo, more" in shown(
            await repl.execute("try:\n    fs.exho\nexcept AttributeError as e:\n    print(e)")
        )

    async def test_the_name_of_such_an_object_may_be_a_variable(self, opener: Opener) -> None:
        repl = await opener(**{"code.echo": echo})
        assert (await repl.execute("code = 5")).changed == ("code",)
        assert shown(await repl.execute("print(code)\ndel code")) == "5"
        assert shown(await repl.execute("code.echo(1)")) == "1"


class CallsWithoutPolicy:
    """What holds where cells may use all of Python."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_an_answer_beyond_the_memory_is_an_error_of_the_cell(self, small: Opener) -> None:
        async def big() -> str:
            return "x" * (30 << 20)

        repl = await small(big=big, echo=echo)
        code = (
            "x = 1\nhoard = []\ntry:\n    while True: hoard.append('h' * (10 << 20))\nexcept MemoryError:\n    pass\n"
        )
        code += "hoard.pop()\ntry:\n    big()\nexcept MemoryError as e:\n    print('caught', e)"
        assert shown(await repl.execute(code)).startswith("caught")
        assert shown(await repl.execute("hoard.clear()\nx, len(big()), echo(2)")) == f"(1, {30 << 20}, 2)"
