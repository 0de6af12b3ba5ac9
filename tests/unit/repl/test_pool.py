"""A pool of warm items: taken once, made anew, none lost, none dead handed out, all closed in the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from rlm.repl.pool import WarmPool


@dataclass
class Item:
    number: int
    is_alive: bool = True
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def aclose(self) -> None:
        self.is_alive = False
        self.closed.set()


@dataclass
class Maker:
    """Makes numbered items; with `gate` cleared, each waits for it."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    made: list[Item] = field(default_factory=list)
    begun: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self) -> Item:
        self.begun += 1
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("no room")
        self.made.append(Item(len(self.made)))
        return self.made[-1]


def pool_of(maker: Maker, size: int = 2) -> WarmPool[Item]:
    return WarmPool(maker, size=size, refill_after_s=0)


async def settled(maker: Maker, begun: int) -> None:
    """Wait until that many were begun and the tasks of the pool have run."""
    async with asyncio.timeout(5):
        while maker.begun < begun or (maker.gate.is_set() and len(maker.made) < begun):
            await asyncio.sleep(0)


async def test_it_makes_no_more_than_its_size_ahead() -> None:
    maker = Maker()
    pool = pool_of(maker)
    pool.fill()
    pool.fill()
    await settled(maker, 2)
    assert maker.begun == 2
    await pool.aclose()


async def test_what_is_taken_is_replaced_and_never_handed_out_again() -> None:
    maker = Maker()
    pool = pool_of(maker)
    pool.fill()
    taken = [(await pool.take()).number for _ in range(4)]
    await settled(maker, 6)
    assert taken == [0, 1, 2, 3]
    await pool.aclose()


async def test_one_being_made_is_waited_for_rather_than_made_twice() -> None:
    maker = Maker()
    maker.gate.clear()
    pool = pool_of(maker, size=1)
    pool.fill()
    taking = asyncio.create_task(pool.take())
    await settled(maker, 1)
    assert maker.begun == 1
    maker.gate.set()
    assert (await taking).number == 0
    await pool.aclose()


async def test_one_that_died_while_it_waited_is_closed_and_passed_over() -> None:
    maker = Maker()
    pool = pool_of(maker)
    pool.fill()
    await settled(maker, 2)
    maker.made[0].is_alive = False
    assert (await pool.take()).number == 1
    await pool.aclose()
    assert maker.made[0].closed.is_set()


async def test_a_failure_ahead_of_need_is_forgotten_and_one_in_need_is_raised() -> None:
    maker = Maker(failures=2)
    pool = pool_of(maker, size=1)
    pool.fill()
    with pytest.raises(OSError, match="no room"):
        await pool.take()
    assert (await pool.take()).number == 0
    await pool.aclose()


async def test_size_zero_makes_each_on_demand() -> None:
    maker = Maker()
    pool = pool_of(maker, size=0)
    pool.fill()
    assert [(await pool.take()).number for _ in range(2)] == [0, 1]
    await pool.aclose()
    assert maker.begun == 2


async def test_a_taker_that_is_cancelled_loses_nothing() -> None:
    maker = Maker()
    maker.gate.clear()
    pool = pool_of(maker, size=1)
    pool.fill()
    taking = asyncio.create_task(pool.take())
    await settled(maker, 1)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    maker.gate.set()
    assert (await pool.take()).number == 0
    await pool.aclose()


async def test_closing_ends_what_waits_and_what_is_made_and_who_waits_for_it() -> None:
    maker = Maker()
    pool = pool_of(maker)
    pool.fill()
    await settled(maker, 2)
    maker.gate.clear()
    takers = [asyncio.create_task(pool.take()) for _ in range(3)]
    await settled(maker, 3)
    await pool.aclose()
    outcomes = await asyncio.gather(*takers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Item, Item, RuntimeError]
    with pytest.raises(RuntimeError, match="closed"):
        await pool.take()


async def test_an_item_that_waits_is_closed_with_the_pool() -> None:
    maker = Maker()
    pool = pool_of(maker, size=1)
    pool.fill()
    await settled(maker, 1)
    await pool.aclose()
    assert maker.made[0].closed.is_set()
    await pool.aclose()
