"""Work off the event loop: what counts as large, and that what nobody waits for ends."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from rlm.core.events import ToolEnd
from rlm.core.off_loop import LARGE_CHARS, checkpoint, in_turns, is_large, off_loop, off_loop_if_large


@dataclass
class Holder:
    value: Any


class Counted(list[int]):
    """A list that knows how many of its items were looked at."""

    seen = 0

    def __iter__(self):
        for item in super().__iter__():
            self.seen += 1
            yield item


LONG = "x" * (LARGE_CHARS + 1)


@pytest.mark.parametrize(
    "value",
    [
        LONG,
        LONG.encode(),
        [LONG],
        {"a": {"b": (LONG,)}},
        {LONG: 1},
        list(range(1_000)),
        {str(number): number for number in range(500)},
        [[[] for _ in range(30)] for _ in range(30)],
        Holder(LONG),
        ToolEnd(result=[Holder([LONG])]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_long_texts_and_many_values_are_large(value: Any) -> None:
    assert is_large(value)
    assert is_large(1, value)


@pytest.mark.parametrize("value", [None, "", LONG[:-100], [1.5, True], {"a": ["b"]}, Holder("x"), ToolEnd(), Holder])
def test_other_values_are_not(value: Any) -> None:
    assert not is_large(value)


def test_no_more_is_looked_at_than_it_takes_to_know() -> None:
    values = Counted(range(100_000))
    assert is_large(values)
    assert values.seen <= LARGE_CHARS // 40 + 1


async def test_only_large_work_leaves_the_thread_of_the_loop() -> None:
    def thread(_value: object) -> int:
        return threading.get_ident()

    assert await off_loop_if_large(thread, "x") == threading.get_ident()
    assert await off_loop_if_large(thread, LONG) != threading.get_ident()


async def test_work_that_is_given_up_ends_at_its_next_checkpoint() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        try:
            begun.set()
            while True:
                checkpoint()
        finally:
            ended.set()

    working = asyncio.create_task(off_loop(work))
    await asyncio.to_thread(begun.wait)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await asyncio.to_thread(ended.wait, 10)


async def test_a_failure_is_raised_where_it_is_awaited() -> None:
    with pytest.raises(ZeroDivisionError):
        await off_loop(lambda: 1 / 0)


async def test_many_items_let_other_work_between() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert [item async for item in in_turns(range(1_000))] == list(range(1_000))
    task.cancel()
    assert turns >= 10
